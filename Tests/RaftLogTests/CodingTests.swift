import Bytes
import Engines
import RaftLog
import Testing

/// What is written is read back; what is damaged is refused, never a crash.
@Suite struct CodingTests {
    private static let incarnation = Incarnation(high: 0x0123_4567_89ab_cdef, low: .max)
    private static let entries = [
        Entry(index: 1, term: 1, kind: .opening, stamp: 0, payload: []),
        Entry(index: .max, term: .max, kind: .command, stamp: .max, payload: [UInt8](repeating: 7, count: 300)),
        Entry(index: 128, term: 16_384, kind: .membership, stamp: 1, payload: [0]),
    ]
    private static let membership = Membership(
        members: [
            Member(id: ReplicaID(0), address: "", incarnation: incarnation, standing: .voter),
            Member(id: ReplicaID(.max), address: "host:1 ✓", incarnation: incarnation, standing: .learner),
            Member(id: ReplicaID(3), address: "h", incarnation: incarnation, standing: .joining),
        ], index: 77)
    private static let bodies: [Message.Body] = [
        .requestVote(last: LogPosition(index: 3, term: 2), isPreVote: true, force: false),
        .requestVote(last: LogPosition(index: .max, term: .max), isPreVote: false, force: true),
        .vote(granted: true, isPreVote: false), .vote(granted: false, isPreVote: true),
        .append(previous: .zero, entries: [], commit: 0),
        .append(previous: LogPosition(index: 9, term: 4), entries: entries, commit: .max),
        .appended(match: 300), .appendRejected(previous: 5, hint: LogPosition(index: 4, term: 1)),
        .heartbeat(commit: 1, round: .max), .heartbeatReply(round: 0), .timeoutNow,
    ]
    private static let messages = bodies.map {
        Message(
            from: ReplicaID(1), to: ReplicaID(.max), fromIncarnation: incarnation,
            toIncarnation: Incarnation(high: 0, low: 1), term: 12, body: $0)
    }
    private static let changes: [MembershipChange] = [
        .add(ReplicaID(4), address: "n4:1", incarnation: incarnation), .remove(ReplicaID(2)),
        .replace(ReplicaID(4), address: "", incarnation: incarnation), .promote(ReplicaID(1), incarnation: incarnation),
    ]

    @Test(arguments: messages) func aMessageIsReadBack(message: Message) throws {
        #expect(try Message(encoded: message.encoded) == message)
        refusesDamage(message.encoded) { bytes throws(CodingError) in _ = try Message(encoded: bytes) }
    }

    @Test(arguments: changes) func aMembershipChangeIsReadBack(change: MembershipChange) throws {
        #expect(try MembershipChange(encoded: change.encoded) == change)
        refusesDamage(change.encoded) { bytes throws(CodingError) in _ = try MembershipChange(encoded: bytes) }
    }

    @Test func aMembershipIsReadBack() throws {
        #expect(try Membership(encoded: Self.membership.encoded) == Self.membership)
        #expect(try Membership(encoded: Membership.none.encoded) == Membership.none)
        refusesDamage(Self.membership.encoded) { bytes throws(CodingError) in _ = try Membership(encoded: bytes) }
    }

    @Test(arguments: [
        HardState(), HardState(term: .max, vote: ReplicaID(0)), HardState(term: 3, vote: ReplicaID(.max)),
    ])
    func aHardStateIsReadBack(state: HardState) throws {
        #expect(try HardState(encoded: state.encoded) == state)
        refusesDamage(state.encoded) { bytes throws(CodingError) in _ = try HardState(encoded: bytes) }
    }

    @Test func anAppliedStateIsReadBack() throws {
        let state = AppliedState(position: LogPosition(index: 500, term: 3), logTime: .max)
        #expect(try AppliedState(encoded: state.encoded) == state)
        refusesDamage(state.encoded) { bytes throws(CodingError) in _ = try AppliedState(encoded: bytes) }
    }

    @Test func aBootstrapRecordIsReadBack() throws {
        let record = BootstrapRecord(clusterID: [1, 2], gid: 9, membership: Self.membership, parameters: [0, 255])
        #expect(try BootstrapRecord(encoded: record.encoded) == record)
        refusesDamage(record.encoded) { bytes throws(CodingError) in _ = try BootstrapRecord(encoded: bytes) }
    }

    @Test func aSnapshotHeaderIsReadBack() throws {
        let header = SnapshotHeader(
            applied: AppliedState(position: LogPosition(index: 5, term: 2), logTime: 7), membership: Self.membership,
            stateRows: [.init(key: [0x40], value: []), .init(key: [0x40, 1], value: [2])], families: ["", "shard/1"])
        #expect(try SnapshotHeader(encoded: header.encoded) == header)
        refusesDamage(header.encoded) { bytes throws(CodingError) in _ = try SnapshotHeader(encoded: bytes) }
    }

    @Test func numbersAreReadBack() throws {
        let numbers: [UInt64] = [0, 1, 127, 128, 16_383, 16_384, 1 << 32, .max - 1, .max]
        var writer = ByteWriter()
        for number in numbers {
            writer.varint(number)
            writer.fixed64(number)
            writer.fixed32(UInt32(truncatingIfNeeded: number))
        }
        var reader = ByteReader(writer.bytes, place: "numbers")
        for number in numbers {
            #expect(try reader.varint() == number)
            #expect(try reader.fixed64() == number)
            #expect(try reader.fixed32() == UInt32(truncatingIfNeeded: number))
        }
        try reader.finish()
    }

    @Test(arguments: [
        [], [0x80], [UInt8](repeating: 0x80, count: 11), [UInt8](repeating: 0xff, count: 9) + [2],
        [UInt8](repeating: 0xff, count: 10),
    ])
    func aNumberThatDoesNotFitIsRefused(bytes: [UInt8]) {
        var reader = ByteReader(bytes, place: "number")
        #expect(throws: CodingError("number")) { _ = try reader.varint() }
    }

    /// A length beyond what is left must not ask for memory.
    @Test func aLengthThatLiesIsRefused() {
        var writer = ByteWriter()
        writer.varint(UInt64.max)
        for claim in [writer.bytes, [5, 1, 2], [1]] {
            var reader = ByteReader(claim, place: "blob")
            #expect(throws: CodingError("blob")) { _ = try reader.blob() }
        }
    }

    @Test func textThatIsNotUTF8IsRefused() {
        var reader = ByteReader([2, 0xc3, 0x28] as [UInt8], place: "text")
        #expect(throws: CodingError("text")) { _ = try reader.string() }
    }

    @Test func bigEndianNumbersSortAsBytes() {
        let numbers: [UInt64] = [0, 1, 255, 256, 1 << 40, .max]
        for (left, right) in zip(numbers, numbers.dropFirst()) {
            #expect(bigEndianBytes(left).lexicographicallyPrecedes(bigEndianBytes(right)))
            #expect(bigEndianBytes(right).withUnsafeBytes { bigEndianNumber($0) } == right)
        }
        #expect([UInt8](repeating: 1, count: 7).withUnsafeBytes { bigEndianNumber($0) } == nil)
    }

    @Test func anIncarnationIsReadFromItsDigits() {
        #expect(Incarnation(hex: Self.incarnation.description) == Self.incarnation)
        #expect(Incarnation(bytes: Self.incarnation.bytes) == Self.incarnation)
        for text in ["", "12", String(repeating: "g", count: 32), String(repeating: "0", count: 33)] {
            #expect(Incarnation(hex: text) == nil, "\(text)")
        }
    }

    @Test(
        arguments: [([1, 2], [1, 3]), ([1, 255], [2]), ([255], nil), ([255, 255], nil), ([], nil)]
            as [([UInt8], [UInt8]?)])
    func theSuccessorOfAPrefixComesAfterAllItsKeys(prefix: [UInt8], successor: [UInt8]?) {
        #expect(Bytes.successor(ofPrefix: prefix) == successor)
    }

    /// Every truncation and something appended are refused; changed bytes may mean something else, but never crash.
    private func refusesDamage(_ bytes: [UInt8], _ decode: ([UInt8]) throws(CodingError) -> Void) {
        for count in 0..<bytes.count {
            #expect(throws: CodingError.self, "\(count) of \(bytes.count) bytes") { try decode(Array(bytes[..<count])) }
        }
        #expect(throws: CodingError.self) { try decode(bytes + [0]) }
        var random = SplitMix64(seed: UInt64(bytes.count))
        for _ in 0..<300 {
            var damaged = bytes
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                guard let place = damaged.indices.randomElement(using: &random) else { continue }
                damaged[place] = UInt8.random(in: 0...255, using: &random)
            }
            try? decode(damaged)
            try? decode(
                (0..<Int.random(in: 0...60, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) })
        }
    }
}

/// Records of the log carry their own check, over the place where they belong too.
@Suite struct LogRecordTests {
    private let layout = GroupLayout(gid: 7, log: FamilyID(2), meta: FamilyID(3))
    private let entry = Entry(index: 12, term: 3, kind: .command, stamp: 99, payload: Array("payload".utf8))

    @Test func aRecordIsReadBack() throws {
        #expect(try layout.decode(12, layout.logValue(entry)) == entry)
    }

    @Test func everyFlippedBitIsFound() {
        let record = layout.logValue(entry)
        for bit in 0..<record.count * 8 {
            var damaged = record
            damaged[bit / 8] ^= 1 << UInt8(bit % 8)
            #expect(throws: EngineError.corruption(place: "log of group 7, entry 12")) {
                _ = try layout.decode(12, damaged)
            }
        }
    }

    @Test func everyTruncationIsFound() {
        let record = layout.logValue(entry)
        for count in 0..<record.count {
            #expect(throws: EngineError.self) { _ = try layout.decode(12, Array(record[..<count])) }
        }
    }

    @Test func aRecordInAnotherPlaceIsFound() {
        #expect(throws: EngineError.self) { _ = try layout.decode(13, layout.logValue(entry)) }
        let other = GroupLayout(gid: 8, log: FamilyID(2), meta: FamilyID(3))
        #expect(throws: EngineError.self) { _ = try other.decode(12, layout.logValue(entry)) }
    }
}
