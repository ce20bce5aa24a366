public import RaftLog

/// One version of the shard map: which group serves each shard, and what is on the move.
public struct ShardMap: Sendable, Equatable {
    /// One shard's row.
    public struct Row: Sendable, Equatable {
        /// The group that serves it; 0 for none yet. Clients go here.
        public var gid: UInt64
        /// The epoch under which it serves. Every move has a higher one.
        public var epoch: UInt64
        public var move: Move?

        public init(gid: UInt64, epoch: UInt64, move: Move? = nil) {
            self.gid = gid
            self.epoch = epoch
            self.move = move
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
        }

        public var from: UInt64
        public var to: UInt64
        public var epoch: UInt64
        public var phase: Phase

        public init(from: UInt64, to: UInt64, epoch: UInt64, phase: Phase) {
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

        public init(addresses: [String], isLeaving: Bool = false, membershipIndex: UInt64 = 0) {
            self.addresses = addresses
            self.isLeaving = isLeaving
            self.membershipIndex = membershipIndex
        }
    }

    public var number: UInt64
    public var clusterID: [UInt8]
    public var groups: [UInt64: Group]
    public var shards: [Row]
    /// Shards that were on the move kept the last join or leave from balancing the groups; it goes on when they
    /// arrive. (Otherwise arrivals change nothing, so that a move by hand stays.)
    public internal(set) var isBalancePending = false

    public init(number: UInt64, clusterID: [UInt8], groups: [UInt64: Group], shards: [Row]) {
        self.number = number
        self.clusterID = clusterID
        self.groups = groups
        self.shards = shards
    }

    /// Where a shard will be when everything on the move has arrived.
    func destination(_ shard: Int) -> UInt64 {
        let row = shards[shard]
        guard let move = row.move, move.phase != .rejected else { return row.gid }
        return move.to
    }

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.byte(1)
        writer.varint(number)
        writer.blob(clusterID)
        writer.varint(groups.count)
        for (gid, group) in groups.sorted(by: { $0.key < $1.key }) {
            writer.varint(gid)
            writer.byte(group.isLeaving ? 1 : 0)
            writer.varint(group.addresses.count)
            for address in group.addresses { writer.string(address) }
            writer.varint(group.membershipIndex)
        }
        writer.varint(shards.count)
        for row in shards {
            writer.varint(row.gid)
            writer.varint(row.epoch)
            writer.optional(row.move) { writer, move in
                writer.varint(move.from)
                writer.varint(move.to)
                writer.varint(move.epoch)
                writer.byte(move.phase.rawValue)
            }
        }
        writer.byte(isBalancePending ? 1 : 0)
        return writer.bytes
    }

    public init(encoded: [UInt8]) throws(CodingError) {
        var reader = ByteReader(encoded, place: "shard map")
        guard try reader.byte() == 1 else { throw CodingError("shard map (unknown version)") }
        number = try reader.varint()
        clusterID = try reader.blob()
        groups = [:]
        for _ in 0..<(try reader.count()) {
            let gid = try reader.varint()
            let isLeaving = try reader.byte() == 1
            var addresses: [String] = []
            for _ in 0..<(try reader.count()) { addresses.append(try reader.string()) }
            groups[gid] = Group(
                addresses: addresses, isLeaving: isLeaving, membershipIndex: try reader.varint())
        }
        shards = []
        for _ in 0..<(try reader.count()) {
            var row = Row(gid: try reader.varint(), epoch: try reader.varint())
            row.move = try reader.optional { (reader) throws(CodingError) in
                let (from, to, epoch) = (try reader.varint(), try reader.varint(), try reader.varint())
                guard let phase = Move.Phase(rawValue: try reader.byte()) else { throw CodingError("shard map") }
                return Move(from: from, to: to, epoch: epoch, phase: phase)
            }
            shards.append(row)
        }
        isBalancePending = try reader.byte() == 1
        try reader.finish()
    }
}

extension ShardMap {
    /// Groups that may receive shards, in order.
    var openGroups: [UInt64] { groups.filter { !$0.value.isLeaving }.keys.sorted() }

    /// Gives every shard a place with as few moves as possible, so that no two groups differ by more than one.
    /// The same input gives the same output on every replica: everything is visited in order.
    mutating func rebalance() {
        let open = openGroups
        guard !open.isEmpty else { return }
        placeOrphans()
        while true {
            let load = load()
            let share = open.reduce(0) { $0 + load[$1, default: 0] } / open.count
            guard let emptiest = open.min(by: { (load[$0, default: 0], $0) < (load[$1, default: 0], $1) }) else {
                return
            }
            let givers = open.filter { load[$0, default: 0] > max(share, load[emptiest, default: 0] + 1) }
                .sorted { (load[$1, default: 0], $0) < (load[$0, default: 0], $1) }
            isBalancePending = !givers.isEmpty
            // What is on the move already can't be sent elsewhere; a giver that has nothing else waits.
            let resting = givers.compactMap { giver in
                shards.firstIndex { $0.move == nil && $0.gid == giver }
            }
            guard let shard = resting.first else { return }
            send(shard, to: emptiest)
        }
    }

    /// Places shards that have no group, or whose group is leaving, and that are not on the move already.
    mutating func placeOrphans() {
        let open = openGroups
        for shard in shards.indices where shards[shard].move == nil {
            let gid = shards[shard].gid
            if gid != 0, groups[gid]?.isLeaving == false { continue }
            let load = load()
            guard let target = open.min(by: { (load[$0, default: 0], $0) < (load[$1, default: 0], $1) }) else { return }
            send(shard, to: target)
        }
    }

    mutating func send(_ shard: Int, to target: UInt64) {
        let row = shards[shard]
        if row.gid == 0 {
            // Nobody has ever had it: there is nothing to copy.
            shards[shard] = Row(gid: target, epoch: row.epoch + 1)
        } else {
            shards[shard].move = Move(from: row.gid, to: target, epoch: row.epoch + 1, phase: .moving)
        }
    }

    /// Shards per group, with everything on the move counted at its destination.
    private func load() -> [UInt64: Int] {
        var load: [UInt64: Int] = [:]
        for shard in shards.indices { load[destination(shard), default: 0] += 1 }
        return load
    }

    /// Removes groups that are leaving and have nothing left, neither to serve nor to hand over.
    mutating func removeEmptiedGroups() {
        for (gid, group) in groups where group.isLeaving {
            let isInUse = shards.contains { $0.gid == gid || $0.move?.from == gid || $0.move?.to == gid }
            if !isInUse { groups[gid] = nil }
        }
    }
}
