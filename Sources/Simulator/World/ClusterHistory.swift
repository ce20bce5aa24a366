internal import Keyspace

/// All operations of all clients, by their numbers, with what their clients have heard.
struct ClusterHistory {
    enum Outcome: Equatable {
        case open
        case value([UInt8]?)
        case written(KeyReply)
        /// Its client can't know.
        case unknown
        /// Its client was told that nothing was done.
        case failed
    }

    struct Operation {
        /// `nil`: it is about no key.
        var key: Int?
        var client: Int
        var call: ObservedOperation.Call
        var began: UInt64
        var ended: UInt64 = .max
        var outcome = Outcome.open
        /// A group has executed it, with this answer, and some replica had applied it by this moment.
        var executed: (reply: KeyReply, at: UInt64)?
        var isExecuted: Bool { executed != nil }
    }

    /// A write as groups know it.
    struct Stamp: Hashable {
        var token: [UInt8]
        var sequence: UInt64

        init(_ stamp: SessionStamp) {
            token = stamp.token
            sequence = stamp.sequence
        }
    }

    var operations: [Operation] = []
    /// The numbers of operations that were sent, by every stamp that they were sent with.
    var writes: [Stamp: Int] = [:]

    /// Of one key, without what has done nothing.
    ///
    /// What its client doesn't know, the observer does: a write of unknown outcome that no replica has applied took no
    /// effect, and one that some replica has applied took effect before that. So everything has a known outcome, and the
    /// search is short.
    func observed(_ key: Int) -> [ObservedOperation] {
        operations.indices.compactMap { id in
            let operation = operations[id]
            guard operation.key == key else { return nil }
            var ended = operation.ended
            let outcome: ObservedOperation.Outcome
            switch operation.outcome {
            case .failed: return nil
            case .open, .unknown:
                guard let executed = operation.executed else { return nil }
                outcome = .written(executed.reply)
                ended = executed.at
            case .value(let value): outcome = .value(value)
            case .written(let reply): outcome = .written(reply)
            }
            return ObservedOperation(
                id, operation.call, began: operation.began, ended: ended, outcome, hint: operation.executed?.at ?? .max)
        }
    }

    func describe(_ id: Int) -> String {
        let operation = operations[id]
        guard let key = operation.key else { return "close" }
        let what = LinearizabilityChecker.describe(operation.call)
        switch operation.outcome {
        case .open: return "key\(key) \(what)"
        case .value(let value): return "key\(key) \(what) = \(value.map(LinearizabilityChecker.describe) ?? "absent")"
        case .written(let reply): return "key\(key) \(what) = \(reply)"
        case .unknown: return "key\(key) \(what), outcome unknown"
        case .failed: return "key\(key) \(what), nothing was done"
        }
    }
}
