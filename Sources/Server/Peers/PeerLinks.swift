internal import Foundation
internal import GRPCCore
internal import Keyspace
internal import Logging
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

    private let gid: GroupID
    private let ownAddress: String
    private let log: Logger
    private let clusterID = Mutex<[UInt8]>([])
    private let links = Mutex<[String: Link]>([:])

    init(gid: GroupID, ownAddress: String, log: Logger) {
        self.gid = gid
        self.ownAddress = ownAddress
        self.log = log
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
        guard let endpoint = Address(toCall: address) else {
            log.error(
                "a member has the address \"\(address)\", which is none: it can't be called; an address is HOST:PORT")
            return
        }
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
