internal import Bytes
public import Engines
internal import Foundation
public import Keyspace
internal import RaftLog
internal import Sharding

/// One key that differs.
public struct Difference: Encodable, Sendable, Equatable {
    public enum Kind: String, Encodable, Sendable {
        case onlyInA, onlyInB, differs
    }

    public var shard: ShardID
    public var kind: Kind
    public var key: [UInt8]
    /// Bytes of the values, where there is one.
    public var bytesInA: Int?
    public var bytesInB: Int?

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: BytesKey.self)
        try container.encode(shard, "shard")
        try container.encode(kind, "kind")
        try container.encodeBytes(key, "key")
        try container.encode(bytesInA, "bytesInA")
        try container.encode(bytesInB, "bytesInB")
    }
}

/// How the user records of two stores differ, shard by shard.
public struct DiffReport: Encodable, Sendable, Equatable {
    public struct Shard: Encodable, Sendable, Equatable {
        public var shard: ShardID
        public var equal: UInt64 = 0
        public var onlyInA: UInt64 = 0
        public var onlyInB: UInt64 = 0
        public var differs: UInt64 = 0

        public var isEqual: Bool { onlyInA == 0 && onlyInB == 0 && differs == 0 }
    }

    /// The shard maps of two stores that both hold the controller.
    public struct Maps: Encodable, Sendable, Equatable {
        public var configInA: UInt64?
        public var configInB: UInt64?
        public var isEqual: Bool
    }

    public var shards: [Shard] = []
    public var maps: Maps?
    public var isEqual: Bool { shards.allSatisfy(\.isEqual) && maps?.isEqual != false }

    private enum CodingKeys: String, CodingKey { case isEqual, maps, shards }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(isEqual, forKey: .isEqual)
        try container.encodeIfPresent(maps, forKey: .maps)
        try container.encode(shards, forKey: .shards)
    }

    /// Reads both side by side, one record of each at a time. Where they lie, on which engine and in which group,
    /// doesn't matter; only keys and values do. Controllers are compared by their shard maps.
    public static func read(
        _ storeA: InspectedStore, _ storeB: InspectedStore, _ selection: RecordSelection = RecordSelection(),
        _ progress: ReadProgress = ReadProgress(), _ found: (Difference) -> Void
    ) throws(EngineError) -> DiffReport {
        if let countA = try storeA.shardCount(), let countB = try storeB.shardCount(), countA != countB {
            throw .mismatch("\(storeA.path) has \(countA) shards and \(storeB.path) \(countB): they can't be compared")
        }
        var report = DiffReport()
        let (groupsA, groupsB) = (try storeA.groups(selection.gid), try storeB.groups(selection.gid))
        if let controllerA = groupsA.first(where: \.isController),
            let controllerB = groupsB.first(where: \.isController)
        {
            let mapA = try ControllerMachine.map(number: nil, layout: controllerA.layout, in: controllerA.view)
            let mapB = try ControllerMachine.map(number: nil, layout: controllerB.layout, in: controllerB.view)
            report.maps = Maps(configInA: mapA?.number, configInB: mapB?.number, isEqual: mapA == mapB)
            // Controllers alone: there are no keys to compare.
            if groupsA.allSatisfy(\.isController), groupsB.allSatisfy(\.isController) { return report }
        }
        var shardsA: [ShardID: UserShard] = [:]
        for shard in try storeA.userShards(selection) { shardsA[shard.shard] = shard }
        var shardsB: [ShardID: UserShard] = [:]
        for shard in try storeB.userShards(selection) { shardsB[shard.shard] = shard }
        for shard in Set(shardsA.keys).union(shardsB.keys).sorted() {
            report.shards.append(
                try compare(shard, shardsA[shard], shardsB[shard], selection.prefix, progress, found))
        }
        return report
    }

    private static func compare(
        _ shard: ShardID, _ inA: UserShard?, _ inB: UserShard?, _ prefix: [UInt8], _ progress: ReadProgress,
        _ found: (Difference) -> Void
    ) throws(EngineError) -> Shard {
        var counts = Shard(shard: shard)
        progress.enter("shard \(shard) of both")
        let (runA, runB) = (try Run(inA, prefix, progress), try Run(inB, prefix, progress))
        while true {
            switch (runA.isAtEnd, runB.isAtEnd) {
            case (true, true): return counts
            case (false, true):
                counts.onlyInA += 1
                found(runA.difference(shard, .onlyInA))
                try runA.step()
            case (true, false):
                counts.onlyInB += 1
                found(runB.difference(shard, .onlyInB))
                try runB.step()
            case (false, false):
                let order = runA.order(runB)
                if order < 0 {
                    counts.onlyInA += 1
                    found(runA.difference(shard, .onlyInA))
                } else if order > 0 {
                    counts.onlyInB += 1
                    found(runB.difference(shard, .onlyInB))
                } else if runA.hasSameValue(as: runB) {
                    counts.equal += 1
                } else {
                    counts.differs += 1
                    var difference = runA.difference(shard, .differs)
                    difference.bytesInB = runB.valueBytes
                    found(difference)
                }
                if order <= 0 { try runA.step() }
                if order >= 0 { try runB.step() }
            }
        }
    }

    /// One side: the record that it stands at, in room that is used again for each.
    private final class Run {
        private let cursor: (any Cursor)?
        private let progress: ReadProgress
        private let order = KeyBuffer()
        private let place: String
        private var key: [UInt8] = []
        private var value: [UInt8] = []
        private(set) var isAtEnd = false

        init(_ shard: UserShard?, _ prefix: [UInt8], _ progress: ReadProgress) throws(EngineError) {
            self.progress = progress
            if let shard {
                let lower = ShardRows.userKey(prefix)
                place = shard.group.place(of: shard.family.family, shard.family.name)
                cursor = try shard.group.view.cursor(
                    shard.family.family, lower: lower, upper: successor(ofPrefix: lower), reverse: false)
            } else {
                place = ""
                cursor = nil
            }
            try step()
        }

        func step() throws(EngineError) {
            guard let cursor else {
                isAtEnd = true
                return
            }
            let isOrdered = try cursor.next { key, value in
                self.key.removeAll(keepingCapacity: true)
                self.key.append(contentsOf: key)
                self.value.removeAll(keepingCapacity: true)
                self.value.append(contentsOf: value)
                progress.count(key.count + value.count)
                return order.advance(to: key)
            }
            if isOrdered == false { throw .corruption(place: "\(place): keys out of order") }
            isAtEnd = isOrdered == nil
        }

        func order(_ other: Run) -> Int {
            key.withUnsafeBytes { left in
                other.key.withUnsafeBytes { right in
                    let common = min(left.count, right.count)
                    if common > 0, let left = left.baseAddress, let right = right.baseAddress {
                        let order = memcmp(left, right, common)
                        if order != 0 { return Int(order) }
                    }
                    return left.count - right.count
                }
            }
        }

        func hasSameValue(as other: Run) -> Bool { value == other.value }

        /// Without the flags.
        var valueBytes: Int { max(0, value.count - 1) }

        func difference(_ shard: ShardID, _ kind: Difference.Kind) -> Difference {
            Difference(
                shard: shard, kind: kind, key: Array(key.dropFirst()), bytesInA: kind == .onlyInB ? nil : valueBytes,
                bytesInB: kind == .onlyInB ? valueBytes : nil)
        }
    }
}
