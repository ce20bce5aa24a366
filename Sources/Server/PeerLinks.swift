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
    private static let frameBytesMax = 1 << 20

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
                    while let messages = await outbox.drain() {
                        for frame in self.frames(messages) { try await writer.write(frame) }
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

    private func frames(_ messages: [Message]) -> [Flotilla_V1_RaftFrame] {
        var frames: [Flotilla_V1_RaftFrame] = []
        var frame = emptyFrame()
        var bytes = 0
        for message in messages {
            let encoded = message.encoded
            if bytes > 0, bytes + encoded.count > Self.frameBytesMax {
                frames.append(frame)
                frame = emptyFrame()
                bytes = 0
            }
            var envelope = Flotilla_V1_RaftEnvelope()
            envelope.gid = gid
            envelope.message = Data(encoded)
            frame.envelopes.append(envelope)
            bytes += encoded.count
        }
        frames.append(frame)
        return frames
    }

    private func emptyFrame() -> Flotilla_V1_RaftFrame {
        var frame = Flotilla_V1_RaftFrame()
        frame.clusterID = Data(clusterID.withLock { $0 })
        frame.fromAddress = ownAddress
        return frame
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

extension Message {
    var approximateBytes: Int {
        if case .append(_, let entries, _) = body { return entries.reduce(96) { $0 + $1.size } }
        return 96
    }
}
