internal import Engines
internal import Foundation
internal import RaftLog
internal import Sharding

/// What one full read of a shard's family finds in it.
public struct ShardContents: Encodable, Sendable {
    /// A key and how large its value is.
    public struct Sized: Encodable, Sendable, Equatable {
        public var key: [UInt8]
        public var bytes: Int

        public func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: BytesKey.self)
            try container.encodeBytes(key, "key")
            try container.encode(bytes, "bytes")
        }
    }

    /// User keys, and the bytes of them and their values.
    public var keys: UInt64 = 0
    public var bytes: UInt64 = 0
    /// `ContentHash.description` of the user records: equal on every engine, and what a node's status says.
    public var contentHash = ""
    public var sessions: UInt64 = 0
    public var sessionHash = ""
    public var minKey: [UInt8]?
    public var maxKey: [UInt8]?
    /// Largest first.
    public var biggest: [Sized] = []

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: BytesKey.self)
        try container.encode(keys, "keys")
        try container.encode(bytes, "bytes")
        try container.encode(contentHash, "contentHash")
        try container.encode(sessions, "sessions")
        try container.encode(sessionHash, "sessionHash")
        try container.encodeBytes(minKey, "minKey")
        try container.encodeBytes(maxKey, "maxKey")
        try container.encode(biggest, "biggest")
    }

    /// Reads the whole family; memory doesn't grow with it.
    static func read(
        _ family: InspectedGroup.ShardFamily, of group: InspectedGroup, biggest: Int, _ progress: ReadProgress
    ) throws(EngineError) -> ShardContents {
        let tally = Tally(biggest: biggest)
        try group.scan(family.family, family.name, progress) { key, value in
            tally.add(key, value)
            return true
        }
        return tally.contents
    }

    /// One for all records of a scan, so that nothing is made for each.
    private final class Tally {
        private var hashes = ShardHashes()
        private var keys: UInt64 = 0
        private var bytes: UInt64 = 0
        private var sessions: UInt64 = 0
        private var minKey: [UInt8]?
        private let last = KeyBuffer()
        private var biggest: Biggest

        init(biggest: Int) { self.biggest = Biggest(limit: biggest) }

        func add(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
            guard key.first == ShardRows.user else {
                if key.first == ShardRows.session { sessions += 1 }
                hashes.session.add(key: key, value: value)
                return
            }
            hashes.user.add(key: key, value: value)
            if minKey == nil { minKey = Array(key.dropFirst()) }
            _ = last.advance(to: key)
            keys += 1
            bytes += UInt64(max(0, key.count + value.count - 2))
            biggest.add(key, max(0, value.count - 1))
        }

        var contents: ShardContents {
            ShardContents(
                keys: keys, bytes: bytes, contentHash: hashes.user.description, sessions: sessions,
                sessionHash: hashes.session.description, minKey: minKey,
                maxKey: last.bytes.map { Array($0.dropFirst()) },
                biggest: biggest.sorted)
        }
    }

    /// The largest values so far: keys and sizes, never the values.
    private struct Biggest {
        let limit: Int
        /// Smallest first; short, so that a sorted array is a heap that reads well.
        private var held: [Sized] = []

        init(limit: Int) { self.limit = limit }

        mutating func add(_ key: UnsafeRawBufferPointer, _ bytes: Int) {
            guard limit > 0 else { return }
            if held.count == limit {
                guard bytes > held[0].bytes else { return }
                held.removeFirst()
            }
            let place = held.firstIndex { $0.bytes >= bytes } ?? held.count
            held.insert(Sized(key: Array(key.dropFirst()), bytes: bytes), at: place)
        }

        var sorted: [Sized] { held.reversed() }
    }
}
