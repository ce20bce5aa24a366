import Engines
import Foundation
import RaftHost
import RaftLog

/// Three replicas of a counter in one process: a tour of `RaftLog` and `RaftHost`.
@main
struct ReplicatedCounter {
    static let usage = """
        usage: replicated-counter [--engine memory|rocksdb|lmdb|sqlite] [--directory DIR] [--increments N]
        """

    static func main() async {
        var engine = EngineKind.memory
        var directory = FileManager.default.temporaryDirectory.path + "/replicated-counter-\(getpid())"
        var increments: UInt64 = 1_000
        var arguments = CommandLine.arguments.dropFirst()
        while let name = arguments.popFirst() {
            let value = arguments.popFirst()
            switch (name, value) {
            case ("--engine", let value?) where EngineKind(rawValue: value) != nil:
                engine = EngineKind(rawValue: value) ?? engine
            case ("--directory", let value?): directory = value
            case ("--increments", let value?) where UInt64(value).map { $0 > 0 } == true:
                increments = UInt64(value) ?? increments
            default:
                print(usage)
                exit(64)
            }
        }
        do {
            try await tour(engine, directory, increments)
        } catch {
            print("replicated-counter: \(error)")
            exit(1)
        }
    }

    static func tour(_ engine: EngineKind, _ directory: String, _ increments: UInt64) async throws {
        var disks: [ReplicaID: Disk] = [:]
        for number in 1...3 {
            let id = ReplicaID(UInt64(number))
            disks[id] = try Disk.fresh(engine, in: directory, replica: id)
        }
        print("three replicas on \(engine), in \(directory)")
        let group = try CounterGroup(disks)
        try await group.resume()
        let before = try await group.count()
        print("the count is \(before); replica \(try await group.leader().id) leads")

        print("\(increments) increments: \(try await increment(group, increments))")

        let follower = try await follower(of: group)
        try group.replicas[follower]?.stop()
        print("stopped replica \(follower), a follower")
        print("\(increments) increments: \(try await increment(group, increments))")
        try group.restart(follower)
        print("restarted it: \(describe(try await group.waitForAgreement()))")
        let snapshots = group.replicas[follower]?.host?.status.snapshotsInstalled ?? 0
        print("it caught up by \(snapshots == 0 ? "the log" : "a snapshot and the log")")

        let leader = try await group.leader().id
        try group.replicas[leader]?.stop()
        print("stopped replica \(leader), the leader")
        print("\(increments) increments: \(try await increment(group, increments))")
        try group.restart(leader)
        print("restarted it: \(describe(try await group.waitForAgreement()))")

        try group.close()
        let reopened = try CounterGroup(disks)
        let after = try await reopened.count()
        print("closed and reopened all three: \(describe(try await reopened.waitForAgreement()))")
        try reopened.close()

        guard after == before + 3 * increments else {
            throw CounterError(description: "expected \(before + 3 * increments), found \(after)")
        }
        print("\(before) + 3 x \(increments) = \(after): no increment was lost, none was executed twice")
    }

    private static func increment(_ group: CounterGroup, _ times: UInt64) async throws -> UInt64 {
        var count: UInt64 = 0
        for _ in 0..<times { count = try await group.increment() }
        return count
    }

    private static func follower(of group: CounterGroup) async throws -> ReplicaID {
        let leader = try await group.leader().id
        guard let follower = group.ids.first(where: { $0 != leader }) else { return leader }
        return follower
    }

    private static func describe(_ counts: [ReplicaID: UInt64]) -> String {
        counts.sorted { $0.key < $1.key }.map { "replica \($0.key) has \($0.value)" }.joined(separator: ", ")
    }
}
