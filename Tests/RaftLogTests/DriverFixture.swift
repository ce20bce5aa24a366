import Engines
import RaftLog

/// A single driver in a group of three (1 is under test), and shorthand for what happens to it.
final class DriverFixture {
    var driver: ReplicaDriver
    var now: Milliseconds = 0

    static let ids = [1, 2, 3].map { ReplicaID($0) }
    static func incarnation(_ id: ReplicaID) -> Incarnation { Incarnation(high: id.rawValue, low: 1) }
    static let membership = Membership(
        members: ids.map { Member(id: $0, address: "n\($0)", incarnation: incarnation($0), standing: .voter) })

    /// A follower of term 1 whose log ends with entries of these terms above 1@1.
    init(
        configuration: ReplicaDriver.Configuration = ReplicaDriver.Configuration(), logTerms: [Term] = [],
        term: Term = 1,
        voters: Membership = DriverFixture.membership,
        unapplied: [Entry] = []
    ) {
        let entries = unapplied + logTerms.enumerated().map { offset, term in Self.entry(2 + LogIndex(offset), term) }
        let state = RestoredState(
            hardState: HardState(term: term), base: BootstrapRecord.position, stored: [], unapplied: entries,
            applied: BootstrapRecord.position, membership: voters)
        driver = ReplicaDriver(
            id: ReplicaID(1), incarnation: Self.incarnation(ReplicaID(1)), configuration: configuration, state: state,
            seed: 1, now: 0)
    }

    static func entry(_ index: LogIndex, _ term: Term) -> Entry {
        Entry(index: index, term: term, kind: .command, stamp: 0, payload: Array("\(index)@\(term)".utf8))
    }

    func receive(_ from: UInt64, term: Term, _ body: Message.Body) {
        let from = ReplicaID(from)
        driver.receive(
            Message(
                from: from, to: ReplicaID(1), fromIncarnation: Self.incarnation(from),
                toIncarnation: Self.incarnation(ReplicaID(1)), term: term, body: body),
            now: now)
    }

    func append(_ from: UInt64, term: Term, after previous: LogPosition, _ terms: [Term], commit: LogIndex = 0) {
        let entries = terms.enumerated().map { offset, term in Self.entry(previous.index + 1 + LogIndex(offset), term) }
        receive(from, term: term, .append(previous: previous, entries: entries, commit: commit))
    }

    func read(_ token: UInt64) -> Bool { driver.read(token: token) }

    func propose(_ payload: [UInt8], token: UInt64? = nil, stamp: Milliseconds = 0) throws -> LogPosition {
        try driver.propose(payload, token: token, stamp: stamp).get()
    }

    func effects() -> ReplicaDriver.Effects { driver.effects(now: now) }

    /// The disk has finished a request.
    func complete(_ request: WriteRequest) {
        var completion = WriteCompletion(serial: request.serial)
        completion.applied = request.commands.last.map { LogPosition(index: $0.entry.index, term: $0.entry.term) }
        driver.completed(completion)
    }

    /// Finishes everything at once, until the driver is quiet. Returns what it said.
    @discardableResult
    func settle() -> [Message.Body] {
        var said: [Message.Body] = []
        while true {
            let effects = effects()
            said += effects.messages.map(\.body)
            if let write = effects.write { complete(write) } else if effects.isEmpty { return said }
        }
    }

    func becomeLeader() {
        now = max(now, driver.core.electionDeadline)
        driver.tick(now: now)
        settle()
        receive(2, term: driver.core.term + 1, .vote(granted: true, isPreVote: true))
        settle()
        receive(2, term: driver.core.term, .vote(granted: true, isPreVote: false))
        settle()
        receive(2, term: driver.core.term, .appended(match: driver.core.lastPosition.index))
        receive(3, term: driver.core.term, .appended(match: driver.core.lastPosition.index))
        settle()
    }
}
