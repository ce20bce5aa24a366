import Bytes
import Engines
import RaftLog

/// What the group replicates: one number, and the number of the last request that changed it.
///
/// A caller whose leader is lost on the way can't know whether its increment was executed. So every request has
/// a number, and the machine executes each number once: repeating a request is always safe.
struct CounterMachine: StateMachine {
    /// The count after the request.
    typealias Reply = UInt64

    static let countKey = Array("count".utf8)
    static let lastRequestKey = Array("last".utf8)

    /// The machine's state is on disk and this one caches nothing, so there is nothing to load.
    mutating func load(in context: inout ApplyContext) {}

    /// Called once for each committed command, in log order, on every replica. No clocks, no random numbers, no
    /// reads but through `context`: every replica must come to the same state.
    mutating func apply(_ entry: Entry, in context: inout ApplyContext) throws(EngineError) -> UInt64 {
        let count = Self.number(try context.stateRow(Self.countKey))
        let request = Self.number(entry.payload)
        guard request > Self.number(try context.stateRow(Self.lastRequestKey)) else { return count }
        context.setStateRow(Self.countKey, bigEndianBytes(count + 1))
        context.setStateRow(Self.lastRequestKey, bigEndianBytes(request))
        return count + 1
    }

    static func increment(request: UInt64) -> [UInt8] { bigEndianBytes(request) }

    /// A row of the machine as any view of the engine shows it.
    static func read(_ key: [UInt8], _ layout: GroupLayout, in view: any ReadView) throws(EngineError) -> UInt64 {
        number(try view.get(layout.meta, key: [GroupLayout.statePrefix] + key))
    }

    private static func number(_ bytes: [UInt8]?) -> UInt64 {
        bytes?.withUnsafeBytes { bigEndianNumber($0) } ?? 0
    }
}
