internal import Bytes
public import Engines
public import Keyspace
public import RaftLog

/// The shard map of a cluster that begins with another one's data.
extension ShardMap {
    /// This map for the nodes of a new cluster, as its next config: nobody who has seen this one may mistake it.
    ///
    /// - Parameter groups: the nodes of each group of the map, and the index of their membership.
    public func restored(
        clusterID: [UInt8], groups nodes: [GroupID: (addresses: [String], membershipIndex: UInt64)]
    ) -> ShardMap {
        var next = self
        next.number += 1
        next.clusterID = clusterID
        for (gid, group) in nodes {
            next.groups[gid]?.addresses = group.addresses
            next.groups[gid]?.membershipIndex = group.membershipIndex
            // Founded anew, with the data.
            next.groups[gid]?.identity = []
        }
        return next
    }
}

extension ControllerMachine {
    /// The newest map in a controller's snapshot; `nil` if the controller had none yet.
    public static func map(in header: SnapshotHeader) throws(EngineError) -> ShardMap? {
        guard let row = header.stateRows.first(where: { $0.key == stateKey }) else { return nil }
        do throws(CodingError) { return try ShardMap(encoded: row.value) } catch {
            throw .corruption(place: "the controller's rows: \(error.place)")
        }
    }

    /// Makes `map` the newest one of a controller that is put together from a snapshot: in the header's rows, and, in
    /// `batch`, in the family of all maps as it was loaded.
    ///
    /// - Returns: false if the snapshot has no family of maps, which no controller is without.
    public static func record(
        _ map: ShardMap, in header: inout SnapshotHeader, families: [FamilyID], _ batch: inout WriteBatch
    ) -> Bool {
        guard let position = header.families.firstIndex(of: configsFamily), families.indices.contains(position) else {
            return false
        }
        batch.put(families[position], key: bigEndianBytes(map.number), value: map.encoded)
        header.stateRows.removeAll { $0.key == stateKey }
        header.stateRows.append(.init(key: stateKey, value: map.encoded))
        // A backup is made under a hold, whose holder knows nothing of this cluster: what waited for it starts.
        let key = [GroupLayout.statePrefix] + holdKey
        if let row = header.stateRows.firstIndex(where: { $0.key == key }),
            var hold = try? MoveHold(encoded: header.stateRows[row].value)
        {
            hold.until = 0
            header.stateRows[row].value = hold.encoded
        }
        return true
    }

    private static var stateKey: [UInt8] { [GroupLayout.statePrefix] + currentKey }
}
