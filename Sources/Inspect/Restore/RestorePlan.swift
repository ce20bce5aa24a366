internal import Bytes
public import Engines
public import Keyspace
public import RaftLog
internal import Sharding

/// Where a backup is to live: the nodes of the new cluster.
public struct RestoreTarget: Sendable, Equatable {
    /// HOST:PORT of each controller node, in order.
    public var controllers: [String]
    /// HOST:PORT of each group's nodes, in order.
    public var groups: [GroupID: [String]]
    /// Taken in turn by the nodes of each group.
    public var engines: [EngineKind]

    public init(controllers: [String], groups: [GroupID: [String]], engines: [EngineKind]) {
        self.controllers = controllers
        self.groups = groups
        self.engines = engines
    }
}

/// The new cluster that a backup becomes: its nodes, what each group's founders agree on, and its shard map.
///
/// It is another cluster than the one that was backed up, with an identity of its own: nodes of the old one, should they
/// still run, are strangers to it.
public struct RestorePlan: Sendable {
    /// A node to be made.
    public struct Node: Sendable, Equatable {
        public var role: String
        /// 0 for the controller.
        public var gid: GroupID
        public var id: UInt64
        public var address: String
        public var engine: EngineKind
        public var incarnation: Incarnation

        /// The name of its directory: "controller-0", "group-100-2".
        public var name: String { gid == 0 ? "controller-\(id)" : "group-\(gid)-\(id)" }
    }

    public let target: RestoreTarget
    public let nodes: [Node]
    /// By gid; the controller's is 0.
    public let records: [GroupID: BootstrapRecord]
    public let map: ShardMap

    /// - Parameter random: draws the incarnations of the nodes.
    public init(
        _ backup: Backup, _ target: RestoreTarget, random: inout some RandomNumberGenerator
    ) throws(EngineError) {
        try Self.check(backup, target)
        self.target = target
        var nodes: [Node] = []
        var records: [GroupID: BootstrapRecord] = [:]
        /// The founders of a group begin where its state is: any later change of members has a higher index.
        func found(_ part: Backup.Part, _ addresses: [String], clusterID: [UInt8]) {
            let gid = part.group.gid
            let made = addresses.enumerated().map { number, address in
                Node(
                    role: part.group.role, gid: gid, id: UInt64(number), address: address,
                    engine: target.engines[number % target.engines.count],
                    incarnation: Incarnation(high: random.next(), low: random.next()))
            }
            let members = made.map {
                Member(id: ReplicaID($0.id), address: $0.address, incarnation: $0.incarnation, standing: .voter)
            }
            nodes += made
            records[gid] = BootstrapRecord(
                clusterID: clusterID, gid: gid.rawValue,
                membership: Membership(members: members, index: part.header.applied.position.index))
        }
        found(backup.controller, target.controllers, clusterID: [])
        let clusterID = records[0]?.hash ?? []
        var groups: [GroupID: (addresses: [String], membershipIndex: UInt64)] = [:]
        for part in backup.groups {
            let addresses = target.groups[part.group.gid] ?? []
            found(part, addresses, clusterID: clusterID)
            groups[part.group.gid] = (addresses, part.header.applied.position.index)
        }
        invariant(
            clusterID != backup.map.clusterID, "a restored cluster has the identity of the one that was backed up")
        self.nodes = nodes
        self.records = records
        map = backup.map.restored(clusterID: clusterID, groups: groups)
    }

    private static func check(_ backup: Backup, _ target: RestoreTarget) throws(EngineError) {
        guard !target.engines.isEmpty, target.engines.allSatisfy({ EngineKind.durable.contains($0) }) else {
            throw .mismatch("a cluster is restored to rocksdb, lmdb or sqlite; name one with --engine")
        }
        guard !target.controllers.isEmpty else {
            throw .mismatch("the controller has no address; give --controllers HOST:PORT,HOST:PORT,…")
        }
        for part in backup.groups where target.groups[part.group.gid]?.isEmpty ?? true {
            let gid = part.group.gid
            throw .mismatch("group \(gid) of the backup has no address; give --group \(gid)=HOST:PORT,HOST:PORT,…")
        }
        let known = backup.groups.map(\.group.gid)
        for gid in target.groups.keys.sorted() where !known.contains(gid) {
            let names = known.map { "\($0)" }.joined(separator: ", ")
            throw .mismatch("there is no group \(gid) in the backup; it holds \(names.isEmpty ? "none" : names)")
        }
        var owners: [String: String] = [:]
        let lists =
            [(gid: GroupID(0), addresses: target.controllers)]
            + target.groups.sorted { $0.key < $1.key }.map { (gid: $0.key, addresses: $0.value) }
        for (gid, addresses) in lists {
            let owner = gid == 0 ? "the controller" : "group \(gid)"
            for address in addresses {
                guard let place = place(address) else {
                    throw .mismatch("\"\(address)\" is not an address; give HOST:PORT")
                }
                if let other = owners.updateValue(owner, forKey: place) {
                    throw .mismatch("\(address) is named twice, for \(other) and for \(owner); each node has its own")
                }
            }
        }
    }

    /// HOST:PORT, spelled the same for the same place; `nil` for anything else.
    private static func place(_ address: String) -> String? {
        Address(toCall: address).map { "\($0.numericHost):\($0.port)" }
    }

    /// 16 bytes.
    public var clusterID: [UInt8] { map.clusterID }

    /// What a reader should know, and nothing is wrong with.
    public var notes: [String] {
        records.sorted { $0.key < $1.key }.compactMap { gid, record in
            let count = record.membership.voters.count
            guard count % 2 == 0 else { return nil }
            let owner = gid == 0 ? "the controller" : "group \(gid)"
            return "\(owner) has \(count) nodes, which bear the loss of as many as \(count - 1) do: \((count - 1) / 2)"
        }
    }

    /// The command that starts a node whose directory lies in `directory`.
    public func command(_ node: Node, in directory: String) -> String {
        let addresses = node.gid == 0 ? target.controllers : target.groups[node.gid] ?? []
        var words = node.gid == 0 ? ["controller", "serve"] : ["group", "serve", "--gid", "\(node.gid)"]
        words += ["--id", "\(node.id)", "--cluster", addresses.joined(separator: ",")]
        if node.gid != 0 { words += ["--controllers", target.controllers.joined(separator: ",")] }
        words += ["--db", Self.quoted("\(directory)/\(node.name)"), "--engine", "\(node.engine)"]
        return "flotilla " + words.joined(separator: " ")
    }

    /// As a shell reads it back.
    private static func quoted(_ path: String) -> String {
        let plain = path.utf8.allSatisfy { byte in
            (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
                || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
                || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) || "/._-+".utf8.contains(byte)
        }
        return plain
            ? path : "'" + path.split(separator: "'", omittingEmptySubsequences: false).joined(separator: "'\\''") + "'"
    }
}
