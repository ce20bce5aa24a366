public import Keyspace

extension FlotillaClient {
    /// The sessions that a shard remembers, in the order of their ends, and the shard's time, at most `limit`. Each page of
    /// a thousand is consistent in itself.
    public func sessions(
        of shard: ShardID, limit: Int
    ) async throws(ClientError) -> (sessions: [KvSession], logTime: UInt64) {
        var sessions: [KvSession] = []
        var time: UInt64 = 0
        while sessions.count < limit {
            let question = KvSessionQuestion(
                shard: shard, after: sessions.last, limit: min(1_000, limit - sessions.count))
            guard case .sessions(let page, let more, let logTime) = try await ask(.listSessions(question), of: shard)
            else { throw ClientError(.internal, "the server answered another question") }
            sessions += page
            time = max(time, logTime)
            if !more || page.isEmpty { break }
        }
        return (sessions, time)
    }

    /// Ends somebody's session: its client has to begin another one. Harmless if there is none.
    public func closeSession(_ token: [UInt8], of shard: ShardID) async throws(ClientError) {
        _ = try await ask(.closeSession(shard, token: token), of: shard, changes: true)
    }

    /// The shards of the cluster.
    public func shards() async throws(ClientError) -> [ShardID] { try await controllerMap().shardIDs }
}
