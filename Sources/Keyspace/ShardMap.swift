public import Bytes

/// One version of the shard map: which group serves each shard, and what is on the move.
public struct ShardMap: Sendable, Equatable {
    /// One shard's row.
    public struct Row: Sendable, Equatable {
        /// The group that serves it; 0 for none yet. Clients go here.
        public var gid: GroupID
        /// The epoch under which it serves. Every move has a higher one.
        public var epoch: UInt64
        public var move: Move?
        /// The group was given it under this epoch with nothing in it: it need not bring it from anywhere.
        public var isBlank: Bool

        /// - Parameter isBlank: `nil`: under epoch 1, as long as nothing was ever given up.
        public init(gid: GroupID, epoch: UInt64, move: Move? = nil, isBlank: Bool? = nil) {
            self.gid = gid
            self.epoch = epoch
            self.move = move
            self.isBlank = isBlank ?? (epoch == 1)
        }
    }

    /// A shard on its way.
    public struct Move: Sendable, Equatable {
        public enum Phase: UInt8, Sendable {
            /// The target copies; `gid` is still the source.
            case moving = 1
            /// The target serves; the source has not yet removed its copy.
            case collecting = 2
            /// The target has rejected it; the source serves again as soon as it knows.
            case rejected = 3
            /// It is to end without arriving, and nobody has decided yet; `gid` is still the source.
            case aborting = 4

            /// Neither the target's log nor, for what it hasn't frozen, the source's has had its word.
            public var isOpen: Bool { self == .moving || self == .aborting }
            /// It ends without arriving, unless its target has activated it already.
            public var isEnding: Bool { self == .aborting || self == .rejected }
        }

        /// 0: the source's data was given up, so that nothing can come from it (only while `aborting`).
        public var from: GroupID
        public var to: GroupID
        public var epoch: UInt64
        public var phase: Phase

        public init(from: GroupID, to: GroupID, epoch: UInt64, phase: Phase) {
            self.from = from
            self.to = to
            self.epoch = epoch
            self.phase = phase
        }
    }

    /// A group's nodes, and whether it is on its way out.
    public struct Group: Sendable, Equatable {
        public var addresses: [String]
        /// Leaves as soon as its last shard has moved away.
        public var isLeaving: Bool
        /// The index, in the group's log, of the membership that the addresses are of; 0: as it joined.
        public var membershipIndex: UInt64
        /// Who founded it: the hash of its bootstrap record, which a group that lost all its disks can't have again.
        /// Empty until the group has said so.
        public var identity: [UInt8]
        /// The group has been heard of. One that hasn't has never served anything, and may be forgotten.
        public var hasReported: Bool

        public init(
            addresses: [String], isLeaving: Bool = false, membershipIndex: UInt64 = 0, identity: [UInt8] = [],
            hasReported: Bool = true
        ) {
            self.hasReported = hasReported
            self.addresses = addresses
            self.isLeaving = isLeaving
            self.membershipIndex = membershipIndex
            self.identity = identity
        }
    }

    public var number: UInt64
    public var clusterID: [UInt8]
    public var groups: [GroupID: Group]
    public var shards: [Row]
    /// Shards that were on the move kept the last join or leave from balancing the groups; it goes on when they
    /// arrive. (Otherwise arrivals change nothing, so that a move by hand stays.)
    public package(set) var isBalancePending = false

    /// The first eight bytes of the cluster's ID as a big-endian number, which requests carry; 0: there are none.
    public static func mark(ofCluster id: [UInt8]) -> UInt64 {
        id.count < 8 ? 0 : id.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
    }

    public init(number: UInt64, clusterID: [UInt8], groups: [GroupID: Group], shards: [Row]) {
        self.number = number
        self.clusterID = clusterID
        self.groups = groups
        self.shards = shards
    }

    /// The number of shards of the cluster, fixed when it began.
    public var shardCount: Int { shards.count }

    /// All shards, in order.
    public var shardIDs: [ShardID] { shards.indices.map { ShardID(clamping: $0) } }

    /// The row of a shard; `nil` if the cluster has no such shard.
    public func row(_ shard: ShardID) -> Row? { shards.indices.contains(shard.index) ? shards[shard.index] : nil }

    /// The row of a shard that the cluster has.
    public subscript(shard: ShardID) -> Row {
        get { shards[shard.index] }
        set { shards[shard.index] = newValue }
    }

    /// What is on the move, by shard.
    public var moves: [(shard: ShardID, move: Move)] {
        shardIDs.compactMap { shard in self[shard].move.map { (shard, $0) } }
    }

    /// Where a shard will be when everything on the move has arrived.
    public func destination(_ shard: ShardID) -> GroupID {
        let row = self[shard]
        guard let move = row.move, !move.phase.isEnding else { return row.gid }
        return move.to
    }

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        // Version 1 has no identities, and a shard is blank in it under epoch 1.
        let isPlain =
            groups.values.allSatisfy { $0.identity.isEmpty && $0.hasReported }
            && shards.allSatisfy { $0.isBlank == ($0.epoch == 1) }
        writer.byte(isPlain ? 1 : 2)
        writer.varint(number)
        writer.blob(clusterID)
        writer.varint(groups.count)
        for (gid, group) in groups.sorted(by: { $0.key < $1.key }) {
            writer.varint(gid.rawValue)
            writer.byte(group.isLeaving ? 1 : 0)
            writer.varint(group.addresses.count)
            for address in group.addresses { writer.string(address) }
            writer.varint(group.membershipIndex)
            if !isPlain {
                writer.blob(group.identity)
                writer.byte(group.hasReported ? 1 : 0)
            }
        }
        writer.varint(shards.count)
        for row in shards {
            writer.varint(row.gid.rawValue)
            writer.varint(row.epoch)
            writer.optional(row.move) { writer, move in
                writer.varint(move.from.rawValue)
                writer.varint(move.to.rawValue)
                writer.varint(move.epoch)
                writer.byte(move.phase.rawValue)
            }
            if !isPlain { writer.byte(row.isBlank ? 1 : 0) }
        }
        writer.byte(isBalancePending ? 1 : 0)
        return writer.bytes
    }

    public init(encoded: [UInt8]) throws(CodingError) {
        var reader = ByteReader(encoded, place: "shard map")
        let version = try reader.byte()
        guard version == 1 || version == 2 else { throw CodingError("shard map (unknown version)") }
        number = try reader.varint()
        clusterID = try reader.blob()
        groups = [:]
        for _ in 0..<(try reader.count()) {
            let gid = GroupID(try reader.varint())
            let isLeaving = try reader.byte() == 1
            var addresses: [String] = []
            for _ in 0..<(try reader.count()) { addresses.append(try reader.string()) }
            var group = Group(addresses: addresses, isLeaving: isLeaving, membershipIndex: try reader.varint())
            if version == 2 {
                group.identity = try reader.blob()
                group.hasReported = try reader.byte() == 1
            }
            groups[gid] = group
        }
        shards = []
        for _ in 0..<(try reader.count()) {
            var row = Row(gid: GroupID(try reader.varint()), epoch: try reader.varint())
            row.move = try reader.optional { (reader) throws(CodingError) in
                let (from, to) = (GroupID(try reader.varint()), GroupID(try reader.varint()))
                let epoch = try reader.varint()
                guard let phase = Move.Phase(rawValue: try reader.byte()) else { throw CodingError("shard map") }
                return Move(from: from, to: to, epoch: epoch, phase: phase)
            }
            row.isBlank = version == 2 ? try reader.byte() == 1 : row.epoch == 1
            shards.append(row)
        }
        isBalancePending = try reader.byte() == 1
        try reader.finish()
    }
}
