public import Engines
public import Keyspace
public import RaftLog
internal import Sharding

/// A backup whose parts fit together: a controller, and exactly the groups of its shard map.
public struct Backup: Sendable {
    /// One group's part of the archive.
    public struct Part: Sendable {
        public var group: ArchiveManifest.Group
        public var header: SnapshotHeader
    }

    public let archive: Archive
    public let controller: Part
    /// Ordered by gid.
    public let groups: [Part]
    /// The controller's newest map.
    public let map: ShardMap

    /// Reads manifest and headers, and refuses what no cluster can be made of. The families' files are verified when
    /// they are loaded.
    public init(_ archive: Archive) throws(EngineError) {
        let manifest = archive.manifest
        guard manifest.kind == .backup else {
            let what = manifest.groups.first?.title ?? "nothing"
            throw .mismatch(
                "\(archive.path) is a snapshot of \(what), and a cluster is made from a backup of all its groups "
                    + "(flotilla backup create)")
        }
        var controllers: [Part] = []
        var groups: [Part] = []
        for group in manifest.groups {
            let part = Part(group: group, header: try archive.header(of: group))
            switch (group.role, group.gid) {
            case ("controller", 0): controllers.append(part)
            case ("group", 1...): groups.append(part)
            default: throw .corruption(place: "\(archive.path): a \(group.role) with gid \(group.gid)")
            }
        }
        guard controllers.count == 1, let controller = controllers.first else {
            throw .mismatch("\(archive.path) holds \(controllers.count) controllers; a backup holds one")
        }
        guard let map = try ControllerMachine.map(in: controller.header) else {
            throw .mismatch("the controller in \(archive.path) has no shard map: its cluster never began")
        }
        self.archive = archive
        self.controller = controller
        self.groups = groups.sorted { $0.group.gid < $1.group.gid }
        self.map = map
        try checkGroups()
        try checkMap()
        for part in self.groups { try checkShards(of: part) }
        try checkOwners()
    }

    /// The archive holds each group of the map once, and no other.
    private func checkGroups() throws(EngineError) {
        let held = groups.map(\.group.gid)
        if let twice = zip(held, held.dropFirst()).first(where: { $0 == $1 }) {
            throw .mismatch("\(archive.path) holds group \(twice.0) twice")
        }
        let listed = map.groups.keys.sorted()
        if let missing = listed.first(where: { !held.contains($0) }) {
            throw .mismatch("\(archive.path) lacks group \(missing), which its shard map lists; make the backup again")
        }
        if let foreign = held.first(where: { map.groups[$0] == nil }) {
            throw .mismatch(
                "\(archive.path) holds group \(foreign), which its shard map doesn't list; make the backup again")
        }
    }

    private func checkMap() throws(EngineError) {
        let clusterId = Incarnation(bytes: map.clusterID)?.description
        guard clusterId == archive.manifest.clusterId else {
            throw .mismatch(
                "\(archive.path) is of cluster \(archive.manifest.clusterId), and its controller of "
                    + "\(clusterId ?? "none"); groups of different clusters don't make one")
        }
        if let number = archive.manifest.configNumber, number != map.number {
            throw .mismatch(
                "\(archive.path) was taken under config \(number), and its controller has config \(map.number); "
                    + "make the backup again")
        }
        if let shard = map.shards.firstIndex(where: { $0.move != nil }) {
            throw .mismatch(
                "shard \(shard) was on the move when \(archive.path) was taken; make the backup again when nothing moves"
            )
        }
    }

    private func checkShards(of part: Part) throws(EngineError) {
        let reader = try reader(part)
        if let count = try reader.shardCount(), count != map.shards.count {
            throw .mismatch(
                "\(part.group.title) in \(archive.path) knows \(count) shards, and the controller "
                    + "\(map.shards.count): they are of different clusters")
        }
        for (shard, record) in try reader.records().sorted(by: { $0.key < $1.key }) {
            switch record.state {
            case .gone: break
            case .frozen:
                throw .mismatch(
                    "shard \(shard) is frozen in \(part.group.title) of \(archive.path): it was on the move; "
                        + "make the backup again when nothing moves")
            case .serving:
                let owner = map.row(shard)?.gid ?? .none
                guard owner == part.group.gid else {
                    throw .mismatch(
                        "\(part.group.title) in \(archive.path) serves shard \(shard), and the shard map gives it to "
                            + "group \(owner): they are not of one moment; make the backup again")
                }
            }
        }
    }

    /// Whom the map names has the shard, unless nobody has ever written to it.
    private func checkOwners() throws(EngineError) {
        var served: [GroupID: Set<ShardID>] = [:]
        for part in groups {
            served[part.group.gid] = Set(try reader(part).records().filter { $0.value.state == .serving }.keys)
        }
        for shard in map.shardIDs {
            let row = map[shard]
            guard row.gid != .none, row.epoch > 1 else { continue }
            guard served[row.gid]?.contains(shard) == true else {
                throw .mismatch(
                    "the shard map in \(archive.path) gives shard \(shard) to group \(row.gid), which doesn't serve "
                        + "it: they are not of one moment; make the backup again")
            }
        }
    }

    private func reader(_ part: Part) throws(EngineError) -> GroupReader {
        let view = try archive.view(of: part.group)
        return GroupReader(view.layout, in: view)
    }
}
