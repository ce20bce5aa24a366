internal import Bytes
internal import Engines
internal import RaftLog

/// A machine that shows every mistake of the log below it: each command appends its number to one of a few
/// journals. A command that is lost, repeated or out of order leaves a journal that differs.
struct JournalMachine: StateMachine {
    static let family = "journal"
    static let journals: UInt64 = 4
    /// What was staged last.
    static let mapped = "mapped"

    static func stage(_ number: UInt64) -> String { "stage/\(number)" }

    /// A command that needs what these lives have staged.
    static func payload(_ number: UInt64, stagedBy lives: [Incarnation]) -> [UInt8] {
        bigEndianBytes(number) + lives.flatMap(\.bytes)
    }

    /// The number of a command that needs something staged.
    static func staged(by entry: Entry) -> UInt64? {
        guard entry.kind == .command, entry.payload.count > 8 else { return nil }
        return entry.payload.withUnsafeBytes { bigEndianNumber($0) }
    }

    private static func lives(of payload: [UInt8]) -> Set<Incarnation> {
        Set(stride(from: 8, to: payload.count, by: 16).compactMap { Incarnation(bytes: Array(payload[$0..<$0 + 16])) })
    }

    mutating func load(in context: inout ApplyContext) throws(EngineError) {}

    mutating func apply(_ entry: Entry, in context: inout ApplyContext) throws(EngineError) -> UInt64 {
        let family: FamilyID
        if let mapped = context.families[Self.family] {
            family = mapped
        } else {
            family = try context.mapFamily(Self.family)
        }
        guard let number = entry.payload.withUnsafeBytes({ bigEndianNumber($0) }) else { return 0 }
        if entry.payload.count > 8 {
            // Maps a family that a quorum has staged beside the log; what lacks it waits.
            let lives = Self.lives(of: entry.payload)
            let staged = context.membership.members.count { $0.standing == .voter && lives.contains($0.incarnation) }
            if staged >= context.membership.quorum {
                guard let here = try context.staged(Self.stage(number)), here.note == bigEndianBytes(number) else {
                    context.wait(forStaged: Self.stage(number))
                    return 0
                }
                try context.mapStaged(Self.stage(number), as: Self.mapped)
            }
        }
        let key = [UInt8(ascii: "j"), UInt8(number % Self.journals)]
        let journal = (try context.get(family, key) ?? []) + entry.payload.prefix(8)
        context.put(family, key, journal)
        return number
    }
}
