internal import Engines
internal import Keyspace
internal import RaftHost
internal import RaftLog

/// Asking a node's own replica.
extension Node {
    /// Does something with what is on the disk. If a row of it can't be trusted, people hear of that, and a replica that is
    /// whole is to lead.
    func noticingDamage<Result>(_ body: () throws -> Result) rethrows -> Result {
        do { return try body() } catch {
            if let error = error as? EngineError { host?.noteDamage(error) }
            throw error
        }
    }

    /// Proposes and waits for the answer; failures as a `KvError`.
    ///
    /// - Parameter isUrgent: of the group itself, so that nothing that clients have waiting keeps it out.
    func propose(_ payload: [UInt8], isUrgent: Bool = true) async throws -> Machine.Reply {
        guard let host else { throw unavailable() }
        let result = await withCheckedContinuation { continuation in
            host.propose(payload, isUrgent: isUrgent) { continuation.resume(returning: $0) }
        }
        switch result {
        case .applied(_, let reply): return reply
        case .notLeader: throw notLeader()
        case .busy: throw KvError(.busy, "too many requests wait", retryAfterMilliseconds: 20)
        case .unknown:
            throw KvError(.outcomeUnknown, "leadership was lost before the request was answered")
        }
    }

    /// A linearizable view; failures as a `KvError`. `body` runs on the host's reading thread.
    ///
    /// - Parameter isUrgent: of the group itself, as with proposals.
    func read<Result: Sendable>(
        isUrgent: Bool = true, _ body: @escaping @Sendable (any ReadSnapshot) throws -> Result
    ) async throws -> Result {
        guard let host else { throw unavailable() }
        return try await withCheckedThrowingContinuation { continuation in
            host.read(isUrgent: isUrgent) { [self] result in
                switch result {
                case .ready(let snapshot):
                    continuation.resume(with: Swift.Result { try noticingDamage { try body(snapshot) } })
                case .notLeader: continuation.resume(throwing: self.notLeader())
                case .busy:
                    continuation.resume(
                        throwing: KvError(.busy, "too many requests wait", retryAfterMilliseconds: 20))
                case .failed(let error):
                    continuation.resume(throwing: KvError(.internal, error.description))
                }
            }
        }
    }

    func notLeader() -> KvError {
        let leader = leaderAddress
        if leader.isEmpty {
            return KvError(
                .noLeader, "\(options.role) \(options.gid) has no leader", retryAfterMilliseconds: 50)
        }
        return KvError(.notLeader, "node \(options.id) doesn't lead", leader: leader)
    }

    func unavailable() -> KvError {
        KvError(.unavailable, obstacle ?? "the node is starting", retryAfterMilliseconds: 100)
    }
}
