import Engines
import Testing

@Suite struct ChecksumTests {
    /// RFC 3720, appendix B.4.
    @Test func crc32cIsCastagnoli() {
        #expect(crc32c(Array("123456789".utf8)) == 0xe306_9283)
        #expect(crc32c([UInt8](repeating: 0, count: 32)) == 0x8a91_36aa)
        #expect(crc32c([UInt8](repeating: 0xff, count: 32)) == 0x62a8_ab43)
        #expect(crc32c([]) == 0)
    }

    @Test func crc32cCanBeContinued() {
        let bytes = (0..<1000).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        for cut in [0, 1, 7, 8, 500, 999, 1000] {
            #expect(crc32c(Array(bytes[cut...]), continuing: crc32c(Array(bytes[..<cut]))) == crc32c(bytes))
        }
    }

    /// Long inputs are summed in lanes; a bit at a time is the definition.
    @Test func crc32cOfAnyLengthIsTheDefinition() {
        func slow(_ bytes: ArraySlice<UInt8>) -> UInt32 {
            var crc = UInt32.max
            for byte in bytes {
                crc ^= UInt32(byte)
                for _ in 0..<8 { crc = crc & 1 == 1 ? (crc >> 1) ^ 0x82f6_3b78 : crc >> 1 }
            }
            return ~crc
        }
        let bytes = (0..<20_000).map { UInt8(truncatingIfNeeded: ($0 &* 2_654_435_761) >> 7) }
        for count in [0, 1, 7, 8, 47, 48, 63, 191, 192, 193, 400, 767, 768, 1_000, 6_143, 6_144, 6_145, 12_300, 20_000]
        {
            #expect(crc32c(Array(bytes[..<count])) == slow(bytes[..<count]), "\(count) bytes")
        }
    }

    @Test func theContentHashDoesNotDependOnOrder() {
        let records = (0..<20).map { ([UInt8($0)], [UInt8($0), 1]) }
        #expect(hash(of: records) == hash(of: records.reversed()))
    }

    @Test func takingARecordAwayUndoesAddingIt() {
        var hash = hash(of: [([1], [2]), ([3], [4])])
        [UInt8]([3]).withUnsafeBytes { key in [UInt8]([4]).withUnsafeBytes { hash.remove(key: key, value: $0) } }
        #expect(hash == self.hash(of: [([1], [2])]))
    }

    @Test func bytesCantMoveBetweenKeyAndValue() {
        #expect(hash(of: [([1, 2], [3])]) != hash(of: [([1], [2, 3])]))
        #expect(hash(of: [([1], [])]) != hash(of: [([], [1])]))
    }

    @Test func aHashIsReadFromItsText() {
        let hash = hash(of: [([1], [2]), ([3], [])])
        #expect(ContentHash(hash.description) == hash)
        for text in [
            "", "1", "1:", "x:" + String(repeating: "0", count: 32), "1:00", "-1:" + String(repeating: "0", count: 32),
        ] {
            #expect(ContentHash(text) == nil, "\(text)")
        }
    }

    private func hash(of records: [([UInt8], [UInt8])]) -> ContentHash {
        var hash = ContentHash()
        for (key, value) in records {
            key.withUnsafeBytes { key in value.withUnsafeBytes { hash.add(key: key, value: $0) } }
        }
        return hash
    }
}

@Suite struct PortableChunkTests {
    private static let chunk: [UInt8] = {
        var builder = ChunkBuilder()
        for number: UInt8 in 1...40 {
            [number].withUnsafeBytes { key in
                [UInt8](repeating: number, count: Int(number) * 7).withUnsafeBytes { builder.add(key: key, value: $0) }
            }
        }
        return builder.finish()
    }()

    @Test func aChunkShowsItsRecordsInOrder() throws {
        var keys: [[UInt8]] = []
        try PortableChunk.decode(Self.chunk) { key, value in
            keys.append(Array(key))
            #expect(value.count == Int(key[0]) * 7 && value.allSatisfy { $0 == key[0] })
        }
        #expect(keys == (1...40).map { [$0] })
    }

    @Test func anEmptyChunkIsAChunk() throws {
        var builder = ChunkBuilder()
        try PortableChunk.decode(builder.finish()) { _, _ in Issue.record("a record in an empty chunk") }
    }

    /// Its room is used again, and not if it has grown large.
    @Test func aBuilderMakesOneChunkAfterAnother() throws {
        var builder = ChunkBuilder()
        for sizes in [[0, 300_000], [7], [6 << 20, 0, 128], [1, 127, 16_384], []] {
            for (number, size) in sizes.enumerated() {
                [UInt8(number)].withUnsafeBytes { key in
                    [UInt8](repeating: UInt8(size & 0xff), count: size).withUnsafeBytes {
                        builder.add(key: key, value: $0)
                    }
                }
            }
            #expect(builder.count == sizes.count)
            let bytes = builder.byteCount
            let chunk = builder.finish()
            #expect(chunk.count == bytes && builder.isEmpty)
            var found: [Int] = []
            try PortableChunk.decode(chunk) { key, value in
                #expect(key.elementsEqual([UInt8(found.count)]))
                #expect(value.allSatisfy { $0 == UInt8(value.count & 0xff) })
                found.append(value.count)
            }
            #expect(found == sizes)
        }
    }

    @Test func everyFlippedBitIsFound() {
        for place in Self.chunk.indices {
            var damaged = Self.chunk
            damaged[place] ^= 1 << UInt8(place % 8)
            #expect(throws: EngineError.self, "bit \(place % 8) of byte \(place)") {
                try PortableChunk.decode(damaged) { _, _ in }
            }
        }
    }

    @Test func everyTruncationIsFound() {
        for count in 0..<Self.chunk.count {
            #expect(throws: EngineError.self) { try PortableChunk.decode(Array(Self.chunk[..<count])) { _, _ in } }
        }
        #expect(throws: EngineError.self) { try PortableChunk.decode(Self.chunk + [0]) { _, _ in } }
    }

    /// With a valid checksum, as from a sender with a bug: sizes that lie must not be believed.
    @Test func recordsThatLieAboutTheirSizeAreRefused() {
        for body: [UInt8] in [
            [0xff, 0xff, 0xff, 0xff, 0x7f], [0x80], [1, 5, 9], [0, 0], [0x80, 0x80, 0x80, 0x80, 0x80, 1],
            [0xff, 0xff, 0xff, 0xff, 0x0f, 0xff, 0xff, 0xff, 0xff, 0x0f, 1],
        ] {
            var chunk: [UInt8] = Array("FCK1".utf8)
            for word in [UInt32(1), UInt32(body.count), crc32c(body)] {
                withUnsafeBytes(of: word.littleEndian) { chunk.append(contentsOf: $0) }
            }
            #expect(throws: EngineError.self, "\(body)") { try PortableChunk.decode(chunk + body) { _, _ in } }
        }
    }
}

/// The model of what a crash loses, on which the simulator stands.
@Suite struct MemoryEngineTests {
    @Test func aCrashKeepsWhatIsSyncedAndAPrefixOfTheRest() throws {
        for kept in 0...3 {
            let engine = MemoryEngine()
            try engine.createFamily(FamilyID(2))
            try put(engine, 0, .synced)
            for key: UInt8 in 1...3 { try put(engine, key, .buffered) }
            #expect(engine.unsyncedCount == 3)
            engine.crash(keepingUnsynced: kept)
            var keys: [UInt8] = []
            try engine.snapshot().scan(FamilyID(2)) { key, _ in
                keys.append(key[0])
                return true
            }
            #expect(keys == (0...UInt8(kept)).map { $0 })
        }
    }

    @Test func aFailedWritePoisonsAndAFullDiskDoesNot() throws {
        let engine = MemoryEngine()
        try engine.createFamily(FamilyID(2))
        engine.failNextWrite(.noSpace(place: "disk"))
        #expect(throws: EngineError.noSpace(place: "disk")) { try put(engine, 1, .synced) }
        try put(engine, 1, .synced)
        engine.failNextWrite(.io(place: "disk", errno: 5))
        #expect(throws: EngineError.io(place: "disk", errno: 5)) { try put(engine, 2, .synced) }
        #expect(throws: EngineError.self) { try put(engine, 3, .synced) }
    }

    private func put(_ engine: MemoryEngine, _ key: UInt8, _ durability: Durability) throws {
        var batch = WriteBatch()
        batch.put(FamilyID(2), key: [key], value: [])
        try engine.write(batch, durability: durability)
    }
}
