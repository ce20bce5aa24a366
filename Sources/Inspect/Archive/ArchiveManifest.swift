public import Engines
public import Keyspace

/// What an archive holds: the file `MANIFEST.json` (docs/formats.md, "Archive").
public struct ArchiveManifest: Codable, Sendable, Equatable {
    /// The layout that this program writes, and the only one that it reads.
    public static let formatNewest = 1

    public enum Kind: String, Codable, Sendable {
        /// One group.
        case snapshot
        /// A whole cluster: the controller and every group of its map.
        case backup
    }

    /// One Raft group, as one of its replicas had it at one applied index.
    public struct Group: Codable, Sendable, Equatable {
        /// "controller" or "group", as in `DirectoryIdentity`.
        public var role: String
        public var gid: GroupID
        /// The replica that it was taken from.
        public var nodeId: UInt64
        public var engine: EngineKind
        public var appliedIndex: UInt64
        public var appliedTerm: UInt64
        /// Of a node that served: "leader", which had everything that was acknowledged before, or "follower".
        public var servedAs: String?
        /// Unix milliseconds.
        public var logTimeMs: UInt64
        /// The snapshot header: position, membership and rows of the state machine.
        public var header: FamilyManifest.File
        public var families: [Family]

        public init(
            role: String, gid: GroupID, nodeId: UInt64, engine: EngineKind, appliedIndex: UInt64, appliedTerm: UInt64,
            logTimeMs: UInt64, header: FamilyManifest.File, families: [Family], servedAs: String? = nil
        ) {
            self.servedAs = servedAs
            self.role = role
            self.gid = gid
            self.nodeId = nodeId
            self.engine = engine
            self.appliedIndex = appliedIndex
            self.appliedTerm = appliedTerm
            self.logTimeMs = logTimeMs
            self.header = header
            self.families = families
        }

        /// "controller" or "group 7".
        public var title: String { role == "controller" ? role : "group \(gid)" }
        /// The group's directory in the archive.
        public var path: String { Self.path(role: role, gid: gid) }
        public static func path(role: String, gid: GroupID) -> String {
            role == "controller" ? role : "group-\(gid)"
        }
    }

    /// One family of a group, in portable chunks.
    public struct Family: Codable, Sendable, Equatable {
        /// The name that the group's family table gives it.
        public var name: String
        /// Its directory, under the group's.
        public var path: String
        public var manifest: FamilyManifest

        public init(name: String, path: String, manifest: FamilyManifest) {
            self.name = name
            self.path = path
            self.manifest = manifest
        }
    }

    public var format: Int
    public var kind: Kind
    /// 32 hexadecimal digits.
    public var clusterId: String
    /// Unix milliseconds.
    public var createdAtMs: UInt64
    /// The program that wrote it.
    public var madeBy: String
    /// Of a backup: the shard map under which it was taken.
    public var configNumber: UInt64?
    /// Ordered by gid.
    public var groups: [Group]

    public init(
        kind: Kind, clusterId: String, createdAtMs: UInt64, madeBy: String, configNumber: UInt64? = nil,
        groups: [Group] = []
    ) {
        format = Self.formatNewest
        self.kind = kind
        self.clusterId = clusterId
        self.createdAtMs = createdAtMs
        self.madeBy = madeBy
        self.configNumber = configNumber
        self.groups = groups
    }

    /// Records of all families.
    public var keys: UInt64 { groups.flatMap(\.families).reduce(0) { $0 + $1.manifest.keys } }
    /// Bytes of all files.
    public var fileBytes: UInt64 {
        groups.reduce(0) { total, group in
            group.families.reduce(total + group.header.bytes) { $0 + $1.manifest.fileBytes }
        }
    }
}
