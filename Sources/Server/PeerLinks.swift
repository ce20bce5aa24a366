internal import DequeModule
internal import Foundation
internal import GRPCCore
internal import RaftLog
internal import Synchronization
internal import Wire

/// The outgoing Raft streams of a process: one for each peer address, opened when first needed, reopened when
/// lost. What doesn't fit into a link's queue is dropped; Raft sends again.
final class PeerLinks: Sendable {
    private static let queueMax = 16_384
    private static let queueBytesMax = 64 << 20

    private struct Link {
        var outbox: Outbox<Message>
        var task: Task<Void, Never>
    }

    private let gid: UInt64
    private let ownAddress: String
    private let clusterID = Mutex<[UInt8]>([])
    private let links = Mutex<[String: Link]>([:])

    init(gid: UInt64, ownAddress: String) {
        self.gid = gid
        self.ownAddress = ownAddress
    }

    func setCluster(_ id: [UInt8]) { clusterID.withLock { $0 = id } }

    func send(_ message: Message, to address: String) {
        let outbox = links.withLock { links -> Outbox<Message> in
            if let link = links[address] { return link.outbox }
            let outbox = Outbox<Message>(countMax: Self.queueMax, bytesMax: Self.queueBytesMax)
            links[address] = Link(outbox: outbox, task: Task { [weak self] in await self?.run(address, outbox) })
            return outbox
        }
        outbox.push(message, bytes: message.approximateBytes)
    }

    private func run(_ address: String, _ outbox: Outbox<Message>) async {
        guard let endpoint = Address(address) else { return }
        var pause: UInt64 = 50
        while !Task.isCancelled {
            do {
                let connection = try Connection(endpoint)
                let peer = Flotilla_V1_Peer.Client(wrapping: connection.client)
                try await peer.raft(options: .flotilla()) { writer in
                    var packer = EnvelopePacker(gid: self.gid)
                    while let messages = packer.isEmpty ? await outbox.drain() : outbox.drainNow() {
                        for message in messages { packer.add(message) }
                        while let envelopes = packer.nextFrame() {
                            var frame = Flotilla_V1_RaftFrame()
                            frame.clusterID = Data(self.clusterID.withLock { $0 })
                            frame.fromAddress = self.ownAddress
                            frame.envelopes = envelopes
                            try await writer.write(frame)
                            // A long message is on its way in pieces: let what has come meanwhile pass.
                            if !packer.isEmpty { break }
                        }
                        if Task.isCancelled { return }
                    }
                } onResponse: { response in
                    for try await _ in response.messages {}
                }
                pause = 50
            } catch {
                pause = min(1_000, pause * 2)
            }
            try? await Task.sleep(for: .milliseconds(pause))
            // What waited through the pause is old news; Raft will say it again.
            outbox.removeAll()
        }
    }

    func stop() {
        for link in links.withLock({ links in
            defer { links = [:] }
            return Array(links.values)
        }) {
            link.outbox.close()
            link.task.cancel()
        }
    }
}

/// Puts Raft messages into frames of about 256 KiB. A longer message goes in pieces, one in a frame; appends wait
/// their turn behind it, since one that came first would be refused, and everything else passes. Pure.
struct EnvelopePacker {
    static let frameBytesMax = 256 << 10

    private let gid: UInt64
    /// What may pass.
    private var urgent: [Flotilla_V1_RaftEnvelope] = []
    private var ordered: Deque<Flotilla_V1_RaftEnvelope> = []

    init(gid: UInt64) { self.gid = gid }

    var isEmpty: Bool { urgent.isEmpty && ordered.isEmpty }

    mutating func add(_ message: Message) {
        let encoded = message.encoded
        var envelope = Flotilla_V1_RaftEnvelope()
        envelope.gid = gid
        guard encoded.count > Self.frameBytesMax else {
            envelope.message = Data(encoded)
            if case .append = message.body { ordered.append(envelope) } else { urgent.append(envelope) }
            return
        }
        envelope.isPiece = true
        for start in stride(from: 0, to: encoded.count, by: Self.frameBytesMax) {
            let end = min(start + Self.frameBytesMax, encoded.count)
            envelope.message = Data(encoded[start..<end])
            envelope.lastPiece = end == encoded.count
            ordered.append(envelope)
        }
    }

    /// What goes into the next frame; `nil` if there is nothing.
    mutating func nextFrame() -> [Flotilla_V1_RaftEnvelope]? {
        guard !isEmpty else { return nil }
        var frame = urgent
        urgent = []
        var bytes = 0
        while let next = ordered.first, bytes == 0 || bytes + next.message.count <= Self.frameBytesMax {
            bytes += next.message.count
            frame.append(next)
            ordered.removeFirst()
        }
        return frame
    }
}

/// The other end of `EnvelopePacker`, for one stream. Pure.
struct EnvelopeUnpacker {
    /// An entry with the largest value, and room for more that came in the same message.
    static let messageBytesMax = 64 << 20

    private var pieces: [UInt8] = []

    /// The messages of a group that a frame completes.
    mutating func unpack(_ envelopes: [Flotilla_V1_RaftEnvelope], gid: UInt64) throws(CodingError) -> [Message] {
        var messages: [Message] = []
        messages.reserveCapacity(envelopes.count)
        for envelope in envelopes where envelope.gid == gid {
            guard envelope.isPiece else {
                messages.append(try Message(encoded: envelope.message.array))
                continue
            }
            pieces += envelope.message
            guard pieces.count <= Self.messageBytesMax else { throw CodingError("Raft message (too long)") }
            if envelope.lastPiece {
                messages.append(try Message(encoded: pieces))
                pieces = []
            }
        }
        return messages
    }
}

extension Message {
    var approximateBytes: Int {
        if case .append(_, let entries, _) = body { return entries.reduce(96) { $0 + $1.size } }
        return 96
    }
}
