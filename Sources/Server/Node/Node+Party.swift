internal import Keyspace
internal import RaftLog

extension Node {
    /// Who founded this group; empty if this replica doesn't know.
    var groupIdentity: [UInt8] { identity.record?.hash ?? [] }

    /// Refuses what was meant for somebody else.
    func check(_ party: Party) throws(KvError) {
        guard party.clusterID == clusterID, !clusterID.isEmpty, party.gid == options.gid else {
            throw KvError(
                .failedPrecondition,
                "\(options.address) is a node of \(options.role) \(options.gid) of another cluster or group than was meant"
            )
        }
        let own = groupIdentity
        guard party.identity.isEmpty || own.isEmpty || party.identity == own else {
            throw KvError(
                .failedPrecondition,
                "\(options.role) \(options.gid) was founded anew since the asker's map was made: what it had is gone")
        }
    }
}
