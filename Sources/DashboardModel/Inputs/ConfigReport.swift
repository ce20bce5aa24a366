internal import Keyspace

/// The newest shard map, as a controller tells it.
public struct ConfigReport: Sendable, Equatable {
    public struct Group: Sendable, Equatable {
        public var gid: UInt64
        public var addresses: [String]
        /// Leaves as soon as its last shard has moved away.
        public var isLeaving: Bool

        public init(gid: UInt64, addresses: [String], isLeaving: Bool = false) {
            self.gid = gid
            self.addresses = addresses
            self.isLeaving = isLeaving
        }
    }

    public enum Phase: Sendable {
        /// The target copies; the source still has the last word.
        case moving
        /// The target serves; the source still has its copy.
        case collecting
        /// The target has refused; the source serves again as soon as it knows.
        case rejected
    }

    public struct Move: Sendable, Equatable {
        public var shard: Int
        public var from: UInt64
        public var to: UInt64
        public var epoch: UInt64
        public var phase: Phase

        public init(shard: Int, from: UInt64, to: UInt64, epoch: UInt64, phase: Phase) {
            self.shard = shard
            self.from = from
            self.to = to
            self.epoch = epoch
            self.phase = phase
        }
    }

    /// Moves wait until it ends.
    public struct Hold: Sendable, Equatable {
        public struct Waiting: Sendable, Equatable {
            public var shard: Int
            public var to: UInt64

            public init(shard: Int, to: UInt64) {
                self.shard = shard
                self.to = to
            }
        }

        /// Who holds, for people.
        public var holder: String
        /// Unix milliseconds, of the controller's log time.
        public var until: UInt64
        /// Moves that start at the end.
        public var waiting: [Waiting]

        public init(holder: String, until: UInt64, waiting: [Waiting] = []) {
            self.holder = holder
            self.until = until
            self.waiting = waiting
        }
    }

    public var number: UInt64
    public var shardCount: Int
    public var groups: [Group]
    /// The gid that serves each shard; 0: none.
    public var shards: [UInt64]
    /// The epoch under which it serves.
    public var epochs: [UInt64]
    public var moves: [Move]
    /// Hexadecimal; empty if unknown.
    public var clusterID: String
    public var hold: Hold?

    public init(
        number: UInt64, shardCount: Int, groups: [Group], shards: [UInt64], epochs: [UInt64], moves: [Move] = [],
        clusterID: String = "", hold: Hold? = nil
    ) {
        self.number = number
        self.shardCount = shardCount
        self.groups = groups
        self.shards = shards
        self.epochs = epochs
        self.moves = moves
        self.clusterID = clusterID
        self.hold = hold
    }

    /// In order, with everything once, and nothing that refers to what isn't there: whatever a controller has sent, the
    /// rest of the code may index by shard and by gid.
    func normalized() -> ConfigReport {
        var config = self
        let count = min(max(shardCount, 0), Limits.shardCountMax)
        config.shardCount = count
        config.shards = Self.fitted(shards, to: count)
        config.epochs = Self.fitted(epochs, to: count)
        var gids: Set<UInt64> = [0]
        config.groups = groups.filter { gids.insert($0.gid).inserted }.map { group in
            var seen: Set<String> = []
            let addresses = group.addresses.filter { !$0.isEmpty && seen.insert($0).inserted }
            return Group(gid: group.gid, addresses: addresses, isLeaving: group.isLeaving)
        }.sorted { $0.gid < $1.gid }
        var moving: Set<Int> = []
        config.moves = moves.filter { (0..<count).contains($0.shard) && moving.insert($0.shard).inserted }
            .sorted { $0.shard < $1.shard }
        var asked: Set<Int> = []
        let waiting = (hold?.waiting ?? [])
            .filter { (0..<count).contains($0.shard) && asked.insert($0.shard).inserted }
            .sorted { $0.shard < $1.shard }
        config.hold?.waiting = waiting
        config.hold?.holder = (hold?.holder ?? "").clipped
        return config
    }

    private static func fitted(_ row: [UInt64], to count: Int) -> [UInt64] {
        Array(row.prefix(count)) + Array(repeating: 0, count: max(0, count - row.count))
    }
}
