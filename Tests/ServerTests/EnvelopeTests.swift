import Bytes
import Keyspace
import RaftLog
import Server
import Testing
import Wire

@Suite struct EnvelopeTests {
    private func append(_ bytes: Int, at index: LogIndex) -> Message {
        let payload = [UInt8](repeating: UInt8(truncatingIfNeeded: index), count: bytes)
        let entry = Entry(index: index, term: 1, kind: .command, stamp: 0, payload: payload)
        return Message(
            from: ReplicaID(0), to: ReplicaID(1), term: 1,
            body: .append(previous: LogPosition(index: index - 1, term: 1), entries: [entry], commit: 0))
    }

    private var heartbeat: Message {
        Message(from: ReplicaID(0), to: ReplicaID(1), term: 1, body: .heartbeat(commit: 3, round: 9))
    }

    private func carry(_ packer: inout EnvelopePacker, _ unpacker: inout EnvelopeUnpacker) throws -> [Message] {
        var arrived: [Message] = []
        while let frame = packer.nextFrame() { arrived += try unpacker.unpack(frame, gid: 100) }
        return arrived
    }

    @Test func everyMessageArrivesWholeAndAppendsInOrder() throws {
        var packer = EnvelopePacker(gid: 100)
        var unpacker = EnvelopeUnpacker()
        let sent = [append(10, at: 2), append(8 << 20, at: 3), append(10, at: 4), append(300 << 10, at: 5)]
        for message in sent { packer.add(message) }
        #expect(try carry(&packer, &unpacker) == sent)
        #expect(packer.isEmpty)
    }

    @Test func aHeartbeatPassesALongMessage() throws {
        var packer = EnvelopePacker(gid: 100)
        var unpacker = EnvelopeUnpacker()
        packer.add(append(8 << 20, at: 2))
        let first = packer.nextFrame() ?? []
        #expect(!first.isEmpty)
        #expect(try unpacker.unpack(first, gid: 100).isEmpty)
        packer.add(heartbeat)
        let second = packer.nextFrame() ?? []
        #expect(try unpacker.unpack(second, gid: 100) == [heartbeat])
        #expect(try carry(&packer, &unpacker) == [append(8 << 20, at: 2)])
    }

    @Test func noFrameIsLongerThanItsBound() {
        var packer = EnvelopePacker(gid: 100)
        for index in 2..<200 { packer.add(append(5_000, at: LogIndex(index))) }
        packer.add(append(1 << 20, at: 200))
        while let frame = packer.nextFrame() {
            #expect(frame.reduce(0) { $0 + $1.message.count } <= EnvelopePacker.frameBytesMax)
        }
    }

    @Test func anotherGroupsMessagesAreLeftAlone() throws {
        var packer = EnvelopePacker(gid: 101)
        var unpacker = EnvelopeUnpacker()
        packer.add(heartbeat)
        #expect(try carry(&packer, &unpacker).isEmpty)
    }

    @Test func garbageIsRefusedNotTrusted() {
        var unpacker = EnvelopeUnpacker()
        var envelope = Flotilla_V1_RaftEnvelope()
        envelope.gid = 100
        envelope.message = .init([1, 2, 3])
        #expect(throws: CodingError.self) { try unpacker.unpack([envelope], gid: 100) }
    }
}
