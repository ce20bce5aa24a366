internal import Keyspace
internal import RaftLog

/// Who answers at the addresses of groups that are to join: a slip of the pen would give shards to nobody.
extension Node {
    /// How long a node may take to begin to listen.
    private static var patience: Duration { .milliseconds(1_500) }

    /// Refuses addresses at which no node of their group answers, and one node under two names.
    func check(_ joining: [GroupID: [String]]) async throws(KvError) {
        var lives: [Incarnation: String] = [:]
        for (gid, addresses) in joining.sorted(by: { $0.key < $1.key }) {
            for address in addresses {
                let found = try await memberToBe(of: gid, at: address)
                if !found.clusterID.isEmpty, found.clusterID != clusterID {
                    throw KvError(.failedPrecondition, "the node at \(address) belongs to another cluster")
                }
                if let other = lives.updateValue(address, forKey: found.answer.incarnation) {
                    throw KvError(.failedPrecondition, "\(other) and \(address) are one and the same node")
                }
            }
        }
    }

    private func memberToBe(of gid: GroupID, at address: String) async throws(KvError) -> Identified {
        let end = ContinuousClock.now + Self.patience
        while true {
            do {
                return try await calls.whoIs(address, gid: gid, from: id, incarnation)
            } catch {
                if let refusal = refusal(in: error) { throw KvError(.failedPrecondition, refusal.message) }
                guard ContinuousClock.now < end, !Task.isCancelled else {
                    throw KvError(
                        .failedPrecondition,
                        "no node answers at \(address); start group \(gid)'s nodes first, or say --force")
                }
                try? await Task.sleep(for: .milliseconds(200))
            }
        }
    }
}
