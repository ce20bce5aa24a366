public import Client
internal import Foundation
internal import Histogram
internal import Synchronization

/// A closed loop of concurrent callers against a cluster.
public struct ClusterBench: Sendable {
    /// What callers do.
    public enum Work: String, CaseIterable, Sendable {
        case put, get
        /// Half gets, half puts.
        case mix
    }

    public var work: Work = .put
    public var clients = 16
    public var valueBytes = 256
    /// Keys are drawn from this many.
    public var keySpace = 100_000
    /// Stop after this many operations, or
    public var count: Int?
    /// after this long.
    public var seconds: Double = 10
    /// Operations before anything is counted.
    public var warmupSeconds: Double = 1
    /// Server processes whose CPU time is read.
    public var serverPIDs: [Int32] = []

    public init() {}

    /// What a run measured.
    public struct Result: Sendable, Encodable {
        public var work: String
        public var clients: Int
        public var valueBytes: Int
        public var operations: Int
        public var errors: Int
        public var firstError: String?
        public var seconds: Double
        public var operationsPerSecond: Double
        /// Milliseconds.
        public var p50: Double
        public var p99: Double
        public var p999: Double
        public var max: Double
        /// CPU milliseconds of the servers for 1,000 operations (so: microseconds for each).
        public var serverCPUPerThousand: Double?
        public var clientCPUPerThousand: Double
    }

    private struct Caller: Sendable {
        var latencies: [UInt64] = []
        var errors = 0
        var firstError: String?
    }

    public func run(_ client: FlotillaClient, progress: (@Sendable (Int) -> Void)? = nil) async -> Result {
        if work != .put { await preload(client) }
        if warmupSeconds > 0, count == nil {
            _ = await drive(client, until: ContinuousClock.now + .seconds(warmupSeconds), budget: nil, progress: nil)
        }
        let serverBefore = cpuMicroseconds(serverPIDs)
        let clientBefore = cpuMicroseconds([getpid()])
        let start = ContinuousClock.now
        let budget = count.map { Budget($0) }
        let end = start + .seconds(count == nil ? seconds : 3_600)
        let callers = await drive(client, until: end, budget: budget, progress: progress)
        let elapsed = (ContinuousClock.now - start) / .seconds(1)
        var histogram = Histogram<UInt64>(highestTrackableValue: 600_000_000, numberOfSignificantValueDigits: .three)
        var operations = 0
        for caller in callers {
            for latency in caller.latencies { histogram.record(latency) }
            operations += caller.latencies.count
        }
        func percentile(_ value: Double) -> Double { Double(histogram.valueAtPercentile(value)) / 1000 }
        let thousands = Double(Swift.max(1, operations)) / 1000
        return Result(
            work: work.rawValue, clients: clients, valueBytes: valueBytes, operations: operations,
            errors: callers.reduce(0) { $0 + $1.errors }, firstError: callers.compactMap(\.firstError).first,
            seconds: elapsed, operationsPerSecond: Double(operations) / elapsed, p50: percentile(50),
            p99: percentile(99), p999: percentile(99.9), max: Double(histogram.max) / 1000,
            serverCPUPerThousand: serverPIDs.isEmpty
                ? nil : Double(cpuMicroseconds(serverPIDs) - serverBefore) / 1000 / thousands,
            clientCPUPerThousand: Double(cpuMicroseconds([getpid()]) - clientBefore) / 1000 / thousands)
    }

    private final class Budget: Sendable {
        private let left: Atomic<Int>
        init(_ count: Int) { left = Atomic(count) }
        func take() -> Bool { left.subtract(1, ordering: .relaxed).oldValue > 0 }
    }

    /// Gets should find something.
    private func preload(_ client: FlotillaClient) async {
        var load = self
        load.work = .put
        load.keySpace = keySpace
        let keys = Swift.min(keySpace, 20_000)
        await withTaskGroup(of: Void.self) { group in
            for worker in 0..<64 {
                group.addTask {
                    let value = [UInt8](repeating: UInt8(ascii: "v"), count: valueBytes)
                    for key in stride(from: worker, to: keys, by: 64) { try? await client.put(Self.key(key), value) }
                }
            }
        }
    }

    private static func key(_ number: Int) -> [UInt8] { Array("bench:\(number)".utf8) }

    private func drive(
        _ client: FlotillaClient, until end: ContinuousClock.Instant, budget: Budget?,
        progress: (@Sendable (Int) -> Void)?
    ) async -> [Caller] {
        let done = Counter()
        let ticker = progress.map { progress in
            Task {
                while !Task.isCancelled {
                    try? await Task.sleep(for: .seconds(1))
                    progress(done.value)
                }
            }
        }
        defer { ticker?.cancel() }
        return await withTaskGroup(of: Caller.self) { group in
            for number in 0..<clients {
                group.addTask { await self.call(client, number, until: end, budget: budget, done) }
            }
            var callers: [Caller] = []
            for await caller in group { callers.append(caller) }
            return callers
        }
    }

    private final class Counter: Sendable {
        private let count = Atomic<Int>(0)
        var value: Int { count.load(ordering: .relaxed) }
        func add() { count.add(1, ordering: .relaxed) }
    }

    private func call(
        _ client: FlotillaClient, _ number: Int, until end: ContinuousClock.Instant, budget: Budget?, _ done: Counter
    ) async -> Caller {
        var caller = Caller()
        var state = UInt64(number &+ 1) &* 0x9e37_79b9_7f4a_7c15
        let value = [UInt8](repeating: UInt8(ascii: "v"), count: valueBytes)
        let present = work == .put ? keySpace : Swift.min(keySpace, 20_000)
        while true {
            if let budget, !budget.take() { break }
            let start = ContinuousClock.now
            if start >= end { break }
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            let key = Self.key(Int((state >> 33) % UInt64(present)))
            do throws(ClientError) {
                if work == .get || (work == .mix && state >> 63 == 0) {
                    _ = try await client.get(key)
                } else {
                    try await client.put(key, value)
                }
                caller.latencies.append(UInt64((ContinuousClock.now - start) / .microseconds(1)))
            } catch {
                caller.errors += 1
                if caller.firstError == nil { caller.firstError = error.message }
            }
            done.add()
        }
        return caller
    }
}

/// User and system time of processes, in microseconds.
func cpuMicroseconds(_ pids: [Int32]) -> Int {
    let ticksPerSecond = sysconf(Int32(_SC_CLK_TCK))
    return pids.reduce(0) { sum, pid in
        guard let text = try? String(contentsOfFile: "/proc/\(pid)/stat", encoding: .utf8),
            let close = text.lastIndex(of: ")")
        else { return sum }
        // After the name: state is field 3, utime 14, stime 15.
        let fields = text[text.index(after: close)...].split(separator: " ")
        guard fields.count > 12, let user = Int(fields[11]), let system = Int(fields[12]) else { return sum }
        return sum + (user + system) * 1_000_000 / ticksPerSecond
    }
}

/// The processes that run nodes on this machine: children of this program's name with a `serve` verb.
public func findServerPIDs(_ addresses: Set<String>) -> [Int32] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: "/proc")) ?? []
    return names.compactMap { Int32($0) }.filter { pid in
        guard let data = FileManager.default.contents(atPath: "/proc/\(pid)/cmdline") else { return false }
        let words = String(decoding: data, as: UTF8.self).split(separator: "\0").map(String.init)
        let serves = words.contains("serve") || words.first.map { $0.hasSuffix("server") } == true
        return serves
            && words.contains { word in
                word.split(whereSeparator: { $0 == "," || $0 == "=" }).contains { addresses.contains(String($0)) }
            }
    }
}
