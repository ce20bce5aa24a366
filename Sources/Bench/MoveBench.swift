public import Client
internal import Foundation
public import Keyspace
internal import Synchronization

/// Moves one shard to and fro between two groups under load: for how long nobody who uses it gets an answer, and what the
/// others notice.
public struct MoveBench: Sendable {
    public var shard: ShardID = 0
    /// What is put into the shard before.
    public var mebibytes = 64
    public var valueBytes = 2_048
    public var moves = 20
    public var writers = 16
    public var readers = 16
    /// So many of a hundred callers use the shard that moves, the others any other.
    public var share = 25
    /// Between two moves, and before the first: what is counted there is what the others get without a move.
    public var pauseSeconds = 2.0

    public init() {}

    /// What one move was like. Times in milliseconds.
    public struct Move: Sendable, Encodable {
        public var from: UInt64
        public var to: UInt64
        /// Until the target served, and until the source had removed its copy.
        public var arrived: Double
        public var collected: Double
        /// The longest time without a success on the shard; `nil`: nobody has asked.
        public var writeGap: Double?
        public var readGap: Double?
        /// Operations a second on other shards while it moved, as a part of those before.
        public var others: Double?
    }

    public struct Result: Sendable, Encodable {
        public var shard: Int
        public var mebibytes: Int
        public var keys: Int
        public var writers: Int
        public var readers: Int
        public var errors: Int
        public var firstError: String?
        public var moves: [Move]
    }

    /// What stops a run before it begins, or in the middle.
    public struct Obstacle: Error, CustomStringConvertible { public var description: String }

    // MARK: - What is seen

    private struct Seen {
        var last: ContinuousClock.Instant
        var longest: Duration = .zero
        var count = 0
    }

    private enum Kind: Int, CaseIterable { case write, read, other }

    private final class Watch: Sendable {
        private let seen: Mutex<[Seen]>
        private let failures = Mutex<(count: Int, first: String?)>((0, nil))

        init() { seen = Mutex(Kind.allCases.map { _ in Seen(last: .now) }) }

        func succeeded(_ kind: Kind) {
            let now = ContinuousClock.now
            seen.withLock { seen in
                seen[kind.rawValue].longest = max(seen[kind.rawValue].longest, now - seen[kind.rawValue].last)
                seen[kind.rawValue].last = now
                seen[kind.rawValue].count += 1
            }
        }

        func failed(_ message: String) { failures.withLock { $0 = ($0.count + 1, $0.first ?? message) } }

        var errors: (count: Int, first: String?) { failures.withLock { $0 } }

        func begin() {
            let now = ContinuousClock.now
            seen.withLock { seen in for kind in seen.indices { seen[kind] = Seen(last: now) } }
        }

        /// With the gap that is still open.
        func end() -> [(gap: Duration, count: Int)] {
            let now = ContinuousClock.now
            return seen.withLock { $0.map { (max($0.longest, now - $0.last), $0.count) } }
        }
    }

    // MARK: - The run

    /// - Parameter progress: gets a line for each move.
    public func run(
        _ client: FlotillaClient, _ controller: ControllerClient, progress: @Sendable (Move) -> Void
    ) async throws -> Result {
        let map = try await controller.query().map
        guard let row = map.row(shard) else {
            throw Obstacle(description: "there is no shard \(shard), only 0 to \(map.shardCount - 1)")
        }
        guard row.move == nil else { throw Obstacle(description: "shard \(shard) is on the move already") }
        let others = map.groups.filter { $0.key != row.gid && !$0.value.isLeaving }.keys.sorted()
        guard let other = others.first else {
            throw Obstacle(description: "there is one group only; join another one, to which the shard can move")
        }
        let keys = keys(map.shardCount)
        try await load(client, keys.own)
        let watch = Watch()
        let callers = Task {
            await withTaskGroup(of: Void.self) { group in
                for number in 0..<writers + readers {
                    group.addTask { await call(client, number, keys, watch) }
                }
            }
        }
        defer { callers.cancel() }
        var result = Result(
            shard: shard.index, mebibytes: mebibytes, keys: keys.own.count, writers: writers, readers: readers,
            errors: 0, firstError: nil, moves: [])
        var (from, to) = (row.gid, other)
        for _ in 0..<moves {
            watch.begin()
            try await Task.sleep(for: .seconds(pauseSeconds))
            let before = Double(watch.end()[Kind.other.rawValue].count) / pauseSeconds
            let move = try await move(from, to, controller, watch, before)
            progress(move)
            result.moves.append(move)
            (from, to) = (to, from)
        }
        callers.cancel()
        await callers.value
        (result.errors, result.firstError) = watch.errors
        return result
    }

    private func move(
        _ from: GroupID, _ to: GroupID, _ controller: ControllerClient, _ watch: Watch, _ before: Double
    ) async throws -> Move {
        func milliseconds(_ time: Duration) -> Double { time / .milliseconds(1) }
        watch.begin()
        let start = ContinuousClock.now
        var map = try await controller.move(shard: shard, to: to).map
        var arrived: Duration?
        while true {
            let row = map.row(shard)
            if row?.gid == to, arrived == nil { arrived = ContinuousClock.now - start }
            if let row, row.move == nil {
                guard row.gid == to else { throw Obstacle(description: "the move to group \(to) was rejected") }
                break
            }
            guard ContinuousClock.now - start < .seconds(600) else {
                throw Obstacle(description: "the move to group \(to) isn't over after 600 s")
            }
            map = try await controller.query(newerThan: map.number, wait: .seconds(2)).map
        }
        let took = ContinuousClock.now - start
        let seen = watch.end()
        func gap(_ kind: Kind) -> Double? {
            seen[kind.rawValue].count == 0 ? nil : milliseconds(seen[kind.rawValue].gap)
        }
        return Move(
            from: from.rawValue, to: to.rawValue, arrived: milliseconds(arrived ?? took), collected: milliseconds(took),
            writeGap: gap(.write), readGap: gap(.read),
            others: before > 0 ? Double(seen[Kind.other.rawValue].count) / (took / .seconds(1)) / before : nil)
    }

    // MARK: - Keys and callers

    private typealias Keys = (own: [[UInt8]], other: [[UInt8]])

    /// Of the shard as many as make up its size, of the others a thousand.
    private func keys(_ shardCount: Int) -> Keys {
        var keys: Keys = ([], [])
        let wanted = max(1, (mebibytes << 20) / valueBytes)
        var number = 0
        while keys.own.count < wanted || (shardCount > 1 && keys.other.count < 1_000) {
            let key = Array("move:\(number)".utf8)
            number += 1
            if Slot.shard(of: key, shardCount: shardCount) == shard {
                if keys.own.count < wanted { keys.own.append(key) }
            } else if keys.other.count < 1_000 {
                keys.other.append(key)
            }
        }
        return keys
    }

    private var value: [UInt8] { [UInt8](repeating: UInt8(ascii: "v"), count: valueBytes) }

    private func load(_ client: FlotillaClient, _ keys: [[UInt8]]) async throws {
        try await withThrowingTaskGroup(of: Void.self) { group in
            for worker in 0..<64 {
                group.addTask {
                    // Bytes that don't compress: a copy is as large as it says.
                    var state = UInt64(worker + 1)
                    for place in stride(from: worker, to: keys.count, by: 64) {
                        var bytes = value
                        for byte in bytes.indices {
                            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                            bytes[byte] = UInt8(truncatingIfNeeded: state >> 56)
                        }
                        try await client.put(keys[place], bytes)
                    }
                }
            }
            try await group.waitForAll()
        }
    }

    private func call(_ client: FlotillaClient, _ number: Int, _ keys: Keys, _ watch: Watch) async {
        let isWriter = number < writers
        let place = isWriter ? number : number - writers
        let isOwn = keys.other.isEmpty || place * 100 < (isWriter ? writers : readers) * share
        let pool = isOwn ? keys.own : keys.other
        let kind: Kind = isOwn ? (isWriter ? .write : .read) : .other
        var state = UInt64(number + 1) &* 0x9e37_79b9_7f4a_7c15
        while !Task.isCancelled {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let key = pool[Int((state >> 33) % UInt64(pool.count))]
            do throws(ClientError) {
                if isWriter { try await client.put(key, value) } else { _ = try await client.get(key) }
                watch.succeeded(kind)
            } catch {
                watch.failed(error.message)
            }
        }
    }
}
