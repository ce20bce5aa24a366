internal import Engines
internal import RaftLog

/// A machine that shows every mistake of the log below it: each command appends its number to one of a few
/// journals. A command that is lost, repeated or out of order leaves a journal that differs.
struct JournalMachine: StateMachine {
    static let family = "journal"
    static let journals: UInt64 = 4

    /// Position and payload of everything applied since the machine was loaded, for the invariants.
    private(set) var appliedNow: [Entry] = []

    mutating func load(in context: inout ApplyContext) throws(EngineError) {}

    mutating func apply(_ entry: Entry, in context: inout ApplyContext) throws(EngineError) -> UInt64 {
        let family: FamilyID
        if let mapped = context.families[Self.family] {
            family = mapped
        } else {
            family = try context.mapFamily(Self.family)
        }
        guard let number = entry.payload.withUnsafeBytes({ bigEndianNumber($0) }) else { return 0 }
        let key = [UInt8(ascii: "j"), UInt8(number % Self.journals)]
        let journal = (try context.get(family, key) ?? []) + entry.payload
        context.put(family, key, journal)
        return number
    }
}
