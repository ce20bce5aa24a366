internal import Bytes
internal import Client
internal import DashboardModel
internal import Foundation
internal import HTTPService
internal import Keyspace

/// Reads keys for people, as a client of the cluster.
struct KeyReader: Sendable {
    /// Of a scan, values that are read at once: each may be long.
    private static let concurrencyMax = 16
    /// A page ends there: it is for people.
    private static let pageBytesMax = 4 << 20

    private let client: FlotillaClient
    private let view: ClusterView

    init(controllers: [String], view: ClusterView) {
        var options = FlotillaClient.Options()
        options.deadline = .seconds(5)
        client = FlotillaClient(endpoints: controllers, options: options)
        self.view = view
    }

    func get(_ question: HTTPQuestion) async throws -> Answer.KeyValue {
        guard let key = try bytes(question, "key") else { throw APIError(.badRequest, "give key= or keyBase64=") }
        let value = try await client.get(key)
        guard let map = view.current.config?.map, map.shardCount > 0 else {
            throw APIError(.unavailable, "no controller has answered yet, so the shard map isn't known")
        }
        let shard = Slot.shard(of: key, shardCount: map.shardCount)
        return Answer.KeyValue(key: key, value: value, shardId: shard, groupId: map[shard].gid)
    }

    func scan(_ question: HTTPQuestion) async throws -> Answer.KeyPage {
        let prefix = try bytes(question, "prefix") ?? []
        let limit: Int
        if let text = question.parameter("limit") {
            guard let number = Int(text), (1...1_000).contains(number) else {
                throw APIError(.badRequest, "limit=\(text): give a number from 1 to 1000")
            }
            limit = number
        } else {
            limit = 100
        }
        var start = prefix
        // The next key after `after` is that with a zero byte added.
        if let after = try bytes(question, "after"), !after.lexicographicallyPrecedes(prefix) { start = after + [0] }
        // Keys first: a page of long values from every shard at once would be too much.
        let found = try await client.scan(
            start: start, end: successor(ofPrefix: prefix) ?? [], limit: limit + 1, keysOnly: true)
        let keys = found.prefix(limit).map(\.key)
        var pairs: [Answer.KeyPage.Pair] = []
        var shown = 0
        var read = 0
        while read < keys.count, shown < Self.pageBytesMax {
            for (key, value) in try await values(of: keys[read..<min(read + Self.concurrencyMax, keys.count)]) {
                pairs.append(Answer.KeyPage.Pair(key: key, value: value))
                shown += key.count + min(value.count, Answer.KeyPage.valueBytesMax)
            }
            read = min(read + Self.concurrencyMax, keys.count)
        }
        let isCut = read < keys.count || found.count > limit
        return Answer.KeyPage(pairs: pairs, after: isCut ? keys[read - 1] : nil)
    }

    /// In order; without those that were deleted since.
    private func values(of keys: ArraySlice<[UInt8]>) async throws -> [(key: [UInt8], value: [UInt8])] {
        let client = client
        return try await withThrowingTaskGroup(of: (Int, [UInt8], [UInt8]?).self) { group in
            for (number, key) in keys.enumerated() {
                group.addTask { (number, key, try await client.get(key)) }
            }
            var found: [(Int, [UInt8], [UInt8])] = []
            for try await (number, key, value) in group { if let value { found.append((number, key, value)) } }
            return found.sorted { $0.0 < $1.0 }.map { ($0.1, $0.2) }
        }
    }

    private func bytes(_ question: HTTPQuestion, _ name: String) throws(APIError) -> [UInt8]? {
        if let text = question.parameter("\(name)Base64") {
            guard let data = Data(base64Encoded: text) else {
                throw APIError(.badRequest, "\(name)Base64=\(text) is not Base64")
            }
            return Array(data)
        }
        return question.parameter(name).map { Array($0.utf8) }
    }
}
