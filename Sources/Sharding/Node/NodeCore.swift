internal import Bytes
public import Engines
public import Keyspace
public import RaftLog

/// How a node comes to take part in its group, why it doesn't, and how it ends.
///
/// A value without time or I/O. Every input answers with the steps to carry out, in their order: what is written comes
/// before the replica starts on it. Until `run` has been carried out the shell says when `wakeAt` has come.
///
///     begin ─┬─ a member ──────────────────────────────────────────────────> run
///            ├─ a founder's record without this life ──> waits, voteless ──> run
///            └─ nothing ──> the controller: which cluster? ──> the founders: who are you? ──> record ──> run
///     stop ──> hands over ──> dismisses who waits ──> ends listening ──> close
public struct NodeCore: Sendable {
    public struct Configuration: Sendable {
        public var id: ReplicaID
        /// Of the directory.
        public var incarnation: Incarnation
        /// The controller's or a group's.
        public var gid: GroupID
        public var address: String
        /// Where the founders of the group are, by their numbers: the list with which the node was started.
        public var founders: [String]
        /// Empty in a controller's node.
        public var controllers: [String]
        /// For people.
        public var directory: String

        public init(
            id: ReplicaID, incarnation: Incarnation, gid: GroupID, address: String, founders: [String],
            controllers: [String], directory: String
        ) {
            self.id = id
            self.incarnation = incarnation
            self.gid = gid
            self.address = address
            self.founders = founders
            self.controllers = controllers
            self.directory = directory
        }

        var isController: Bool { gid == .controller }
        var role: String { isController ? "controller" : "group" }
    }

    /// What the directory and its engine hold when the node starts.
    public struct Holdings: Sendable {
        public var record: BootstrapRecord?
        /// As the log has applied it; without members if this node has not been one.
        public var membership: Membership
        /// Of recoveries by force.
        public var recoveries: [RecoveryNote]
        /// The cluster that the directory was made for; empty if it was made for none yet.
        public var cluster: [UInt8]
        /// The directory says that this node was a member.
        public var hasJoined: Bool

        public init(
            record: BootstrapRecord? = nil, membership: Membership = .none, recoveries: [RecoveryNote] = [],
            cluster: [UInt8] = [], hasJoined: Bool = false
        ) {
            self.record = record
            self.membership = membership
            self.recoveries = recoveries
            self.cluster = cluster
            self.hasJoined = hasJoined
        }
    }

    /// Who answers at an address.
    public struct Identified: Sendable, Equatable {
        public var id: ReplicaID
        /// The addresses with which it was started.
        public var cluster: [String]
        public var answer: BootstrapCore.Answer

        public init(id: ReplicaID, cluster: [String], answer: BootstrapCore.Answer) {
            self.id = id
            self.cluster = cluster
            self.answer = answer
        }
    }

    public enum Step: Sendable, Equatable {
        /// Which cluster do the controllers answer for? Answer with `heardOfCluster`.
        case askController
        /// Who is at the address of this founder? Answer with `heard`.
        case ask(ReplicaID, at: String)
        /// Into the engine, and onto the disk. `founds`: with the rows of a group that begins.
        case write(BootstrapRecord, founds: Bool)
        /// Into the directory's identity, and for everybody who speaks for this node.
        case recordCluster([UInt8])
        /// Into the directory's identity: this node is or was a member.
        case recordJoined
        /// Everything is written: the replica may start.
        case run
        case say(NodeNote)
        /// The node can't start.
        case fail(EngineError)
        /// Leadership goes to whoever can take over soonest.
        case handOver
        /// Who waits for the replica is told that it ends: calls that wait for a disk would keep the listener from ending.
        case dismissWaiters
        /// The listener ends, with its connections; a call that came in while the engine closes could trap in the
        /// transport.
        case endListening
        /// The replica stops and the engine closes.
        case close
    }

    private enum Phase: Sendable {
        case opened
        /// `askAt`: when the controller is asked again; `nil` while an answer is awaited.
        case awaitsCluster(askAt: Milliseconds?)
        case founding(Founding)
        case running
        case failed
        /// Leadership is on its way to another; the latest moment to close.
        case relieved(until: Milliseconds)
        case ended
    }

    private struct Founding: Sendable {
        var core: BootstrapCore
        /// Founders that are being asked.
        var asked: Set<ReplicaID> = []
        /// Those that have answered and count only when others have, or haven't answered at all: when they are asked
        /// again.
        var askAt: [ReplicaID: Milliseconds] = [:]
        /// Founders from whom nothing was heard when they were asked last.
        var silent: Set<ReplicaID> = []
        /// Of whom people have heard that they are missing, and what is wrong with whom.
        var announced: [ReplicaID]?
        var said: [ReplicaID: NodeCondition] = [:]
    }

    private static let controllerRest: Milliseconds = 200
    private static let founderRest: Milliseconds = 100
    /// Leadership goes with a message or two; who doesn't get it has an election timeout to wait.
    private static let reliefMax: Milliseconds = 500

    private let configuration: Configuration
    private var phase = Phase.opened
    private var holdings = Holdings()
    private var receiver = ReceivingTurns()

    /// Why this node doesn't take part; `nil`: it does.
    public private(set) var condition: NodeCondition? = .starting
    /// Empty while it isn't known.
    public private(set) var cluster: [UInt8] = []
    /// What the founders of the group agreed on, as far as this node knows.
    public private(set) var record: BootstrapRecord?

    public init(_ configuration: Configuration) { self.configuration = configuration }

    /// When `woken` is to be called at the latest.
    public var wakeAt: Milliseconds? {
        switch phase {
        case .awaitsCluster(let askAt): askAt
        case .founding(let founding): founding.askAt.values.min()
        case .relieved(let until): until
        case .opened, .running, .failed, .ended: nil
        }
    }

    public var isRunning: Bool { if case .running = phase { true } else { false } }

    // MARK: - Coming to life

    public mutating func begin(_ holdings: Holdings, now: Milliseconds) -> [Step] {
        // Stopped before it has begun.
        if isEnded { return [] }
        invariant(isOpened, "node \(configuration.id) of group \(configuration.gid) begins twice")
        self.holdings = holdings
        cluster = holdings.cluster
        record = holdings.record
        var steps: [Step] = []
        for note in holdings.recoveries { steps.append(.say(.recoveredByForce(note, own: configuration.id))) }
        if let last = holdings.recoveries.last,
            last.isUnfinished(in: holdings.membership, id: configuration.id, incarnation: configuration.incarnation)
        {
            return steps
                + fail(
                    .mismatch(
                        "the recovery of \(configuration.directory) was interrupted; repeat `flotilla group recover "
                            + "--force-new-membership --db \(configuration.directory)`"))
        }
        // A group that is founded already works without the controller.
        guard configuration.isController || !cluster.isEmpty else {
            phase = .awaitsCluster(askAt: nil)
            return steps + [.askController]
        }
        return steps + proceed(now)
    }

    /// The controller answers for this cluster; `nil`: none answers.
    public mutating func heardOfCluster(_ id: [UInt8]?, now: Milliseconds) -> [Step] {
        guard case .awaitsCluster = phase else { return [] }
        guard let id, !id.isEmpty else {
            phase = .awaitsCluster(askAt: now + Self.controllerRest)
            return change(.awaitsController(configuration.controllers))
        }
        cluster = id
        return proceed(now)
    }

    private mutating func proceed(_ now: Milliseconds) -> [Step] {
        if !holdings.membership.members.isEmpty {
            // A member, by founding or by a snapshot in an earlier life of the process.
            let address = notedAddress(in: holdings.membership)
            return take(record.map(clusterID) ?? cluster) + [.recordJoined] + change(address) + run()
        }
        if holdings.hasJoined {
            return fail(
                .corruption(
                    place: "\(configuration.directory)/engine holds nothing of \(configuration.role) "
                        + "\(configuration.gid), of which this node was a member: its files were lost or replaced; "
                        + "restore them, or remove the directory and start the node anew, whose log then names the "
                        + "`member replace` command"))
        }
        if let record { return waitForMembership(record) }
        var addresses: [ReplicaID: String] = [:]
        for (number, address) in configuration.founders.enumerated() { addresses[ReplicaID(UInt64(number))] = address }
        phase = .founding(
            Founding(
                core: BootstrapCore(
                    own: configuration.id, incarnation: configuration.incarnation, addresses: addresses,
                    clusterID: configuration.isController ? [] : cluster, gid: configuration.gid.rawValue,
                    parameters: [])))
        return found(now)
    }

    /// Answers the question who a founder is; `nil`: nobody of this group answers there.
    public mutating func heard(_ found: Identified?, from founder: ReplicaID, now: Milliseconds) -> [Step] {
        guard case .founding(var founding) = phase, founding.asked.remove(founder) != nil else { return [] }
        founding.askAt[founder] = now + Self.founderRest
        if found == nil { founding.silent.insert(founder) } else { founding.silent.remove(founder) }
        var obstacle: NodeCondition?
        if let found {
            if found.id != founder {
                obstacle = .founderIsAnother(
                    id: found.id.rawValue, address: address(of: founder), expected: founder)
            } else if found.answer.record == nil, found.cluster != Self.spelledAlike(configuration.founders) {
                obstacle = .founderHasAnotherList(founder, theirs: found.cluster, own: configuration.founders)
            } else {
                let decision = founding.core.answered(founder, found.answer)
                guard case .await(let missing) = decision else {
                    phase = .founding(founding)
                    return decided(decision)
                }
                // It is there: what is left to ask it, of the second round, needs no rest.
                if missing.contains(founder) { founding.askAt[founder] = now }
            }
        }
        var steps: [Step] = []
        if let obstacle {
            condition = obstacle
            // Several founders may be wrong in turn: each is said once.
            if founding.said.updateValue(obstacle, forKey: founder) != obstacle {
                steps = [.say(.condition(obstacle))]
            }
        }
        phase = .founding(founding)
        return steps + self.found(now)
    }

    /// A founder is there: it has asked who this node is. Where nothing was heard of it before it is asked at once; one whose
    /// answer doesn't fit gets its rest, or the two would ask each other without end.
    public mutating func wasAsked(by founder: ReplicaID, now: Milliseconds) -> [Step] {
        guard case .founding(var founding) = phase, founding.silent.remove(founder) != nil,
            founding.askAt[founder] != nil
        else { return [] }
        founding.askAt[founder] = now
        phase = .founding(founding)
        return found(now)
    }

    /// Time has passed.
    public mutating func woken(now: Milliseconds) -> [Step] {
        switch phase {
        case .awaitsCluster(let askAt?) where askAt <= now:
            phase = .awaitsCluster(askAt: nil)
            return [.askController]
        case .founding: return found(now)
        case .relieved(let until) where until <= now: return close()
        default: return []
        }
    }

    /// Asks whom it is time to ask.
    private mutating func found(_ now: Milliseconds) -> [Step] {
        guard case .founding(var founding) = phase else { return [] }
        let missing = founding.core.awaits
        var steps: [Step] = []
        if missing.isEmpty { return decided(founding.core.decision) }
        if missing != founding.announced {
            founding.announced = missing
            let founders = missing.map { NodeCondition.Founder(id: $0, address: address(of: $0)) }
            steps = change(.awaitsFounders(founders))
        }
        founding.askAt = founding.askAt.filter { missing.contains($0.key) }
        for founder in missing where !founding.asked.contains(founder) && founding.askAt[founder, default: 0] <= now {
            founding.asked.insert(founder)
            founding.askAt[founder] = nil
            steps.append(.ask(founder, at: address(of: founder)))
        }
        phase = .founding(founding)
        return steps
    }

    private mutating func decided(_ decision: BootstrapCore.Decision) -> [Step] {
        switch decision {
        case .await: return []
        case .adopt(let record):
            self.record = record
            let founders = record.membership.members.map { "\($0.id)" }.joined(separator: ", ")
            return [.write(record, founds: true), .say(.founded(by: founders))] + take(clusterID(of: record))
                + [.recordJoined] + change(nil) + run()
        case .waitForReplacement(let record):
            // Kept, so that this node too can show it when others ask.
            return [.write(record, founds: false)] + waitForMembership(record)
        }
    }

    /// Not a founder of this group: runs without a vote until the leader's log names this directory's life.
    private mutating func waitForMembership(_ record: BootstrapRecord) -> [Step] {
        self.record = record
        let verb = record.membership[configuration.id] == nil ? "add" : "replace"
        let command =
            "flotilla group member \(verb) \(configuration.id) \(configuration.address) --node "
            + (record.membership.members.first { $0.id != configuration.id }?.address ?? "HOST:PORT")
        return change(.awaitsMembership(command: command)) + take(clusterID(of: record)) + run()
    }

    private mutating func take(_ id: [UInt8]) -> [Step] {
        guard !id.isEmpty else { return [] }
        cluster = id
        return [.recordCluster(id)]
    }

    private mutating func run() -> [Step] {
        phase = .running
        return [.run]
    }

    private mutating func fail(_ error: EngineError) -> [Step] {
        phase = .failed
        return [.fail(error)]
    }

    public var isEnded: Bool { if case .ended = phase { true } else { false } }

    private var isOpened: Bool { if case .opened = phase { true } else { false } }

    private func clusterID(of record: BootstrapRecord) -> [UInt8] {
        configuration.isController ? record.hash : record.clusterID
    }

    private func address(of founder: ReplicaID) -> String {
        Int(exactly: founder.rawValue).flatMap {
            configuration.founders.indices.contains($0) ? configuration.founders[$0] : nil
        } ?? "?"
    }

    // MARK: - Taking part

    /// The log has other members now.
    public mutating func observe(_ membership: Membership) -> [Step] {
        guard membership[configuration.id]?.incarnation == configuration.incarnation else { return [] }
        return change(notedAddress(in: membership))
    }

    /// A snapshot has made this replica what its sender is.
    public mutating func installedSnapshot() -> [Step] { change(nil) + [.recordJoined] }

    /// The shard map knows this group by its own founders, or by others: then it must not serve, and people must hear of
    /// it.
    public mutating func isKnown(_ isKnown: Bool) -> [Step] {
        let foundedAnew = NodeCondition.foundedAnew(configuration.gid)
        if !isKnown { return change(foundedAnew) }
        return condition == foundedAnew ? change(nil) : []
    }

    /// A member that was started under another address can't be found by the others.
    private func notedAddress(in membership: Membership) -> NodeCondition? {
        guard let own = membership[configuration.id], own.incarnation == configuration.incarnation,
            Self.spelledAlike([own.address]) != Self.spelledAlike([configuration.address])
        else { return nil }
        return .movedAway(
            known: own.address, own: configuration.address,
            command: "flotilla group member update \(configuration.id) \(configuration.address) --node "
                + (membership.members.first { $0.id != configuration.id }?.address ?? configuration.address))
    }

    private mutating func change(_ condition: NodeCondition?) -> [Step] {
        guard condition != self.condition else { return [] }
        self.condition = condition
        return condition.map { [.say(.condition($0))] } ?? []
    }

    /// Who this node is, for others that look for their group.
    public var spelledFounders: [String] { Self.spelledAlike(configuration.founders) }

    private static func spelledAlike(_ addresses: [String]) -> [String] {
        addresses.map { text in Address(text).map { "\($0.numericHost):\($0.port)" } ?? text }
    }

    // MARK: - Snapshots

    /// A leader of this term offers a snapshot: the number of its turn; `nil` if one is being received that a leader of this
    /// term or a later one has offered. (One whose sender falls silent ends by itself.)
    public mutating func beginReceiving(_ term: Term) -> UInt64? { isRunning ? receiver.begin(term) : nil }

    /// Whether the turn is still whose it was.
    public func isReceiving(_ turn: UInt64) -> Bool { receiver.has(turn) }

    public mutating func endReceiving(_ turn: UInt64) { receiver.end(turn) }

    // MARK: - Stopping

    /// - Parameters:
    ///   - leads: the replica leads its group.
    ///   - listens: connections are to be closed before the engine is; else the process exits at once.
    public mutating func stop(leads: Bool, listens: Bool, now: Milliseconds) -> [Step] {
        if case .ended = phase { return [] }
        var steps: [Step] = leads ? [.handOver] : []
        steps.append(.dismissWaiters)
        if listens { return steps + [.endListening] + close() }
        guard leads else { return steps + close() }
        phase = .relieved(until: now + Self.reliefMax)
        return steps
    }

    /// The replica's role is another.
    public mutating func observe(leads: Bool) -> [Step] {
        if case .relieved = phase, !leads { return close() }
        return []
    }

    private mutating func close() -> [Step] {
        phase = .ended
        return [.close]
    }
}

/// One snapshot is received at a time; a leader of a later term takes the turn.
struct ReceivingTurns: Sendable {
    private var last: UInt64 = 0
    /// The turn, and the term of the leader that has it.
    private var present: (turn: UInt64, term: Term)?

    mutating func begin(_ term: Term) -> UInt64? {
        if let present, present.term >= term { return nil }
        last += 1
        present = (last, term)
        return last
    }

    func has(_ turn: UInt64) -> Bool { present?.turn == turn }

    mutating func end(_ turn: UInt64) { if has(turn) { present = nil } }
}
