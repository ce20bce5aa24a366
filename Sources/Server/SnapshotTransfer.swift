internal import Engines
internal import Foundation
internal import GRPCCore
internal import RaftHost
internal import RaftLog
internal import Wire

/// Carries a snapshot's files over a connection of its own, so that heartbeats never wait behind them.
enum SnapshotTransfer {
    private static let pieceBytes = 256 << 10

    static func send(
        _ snapshot: OutgoingSnapshot, gid: UInt64, clusterID: [UInt8], to member: Member
    ) async throws -> Bool {
        guard let endpoint = Address(member.address) else { return false }
        let connection = try Connection(endpoint)
        let peer = Flotilla_V1_Peer.Client(wrapping: connection.client)
        let manifests = try snapshot.manifests.map { try JSONEncoder().encode($0) }
        let result = try await peer.installSnapshot(options: .flotilla()) { writer in
            var frame = Flotilla_V1_SnapshotFrame()
            frame.header.clusterID = Data(clusterID)
            frame.header.gid = gid
            frame.header.toIncarnation = Data(member.incarnation.bytes)
            frame.header.header = Data(snapshot.header.encoded)
            frame.header.manifests = manifests
            try await writer.write(frame)
            var pieces: UInt64 = 0
            for (family, manifest) in snapshot.manifests.enumerated() {
                for (number, file) in manifest.files.enumerated() {
                    let path = "\(snapshot.directory)/\(family)/\(file.name)"
                    let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
                    defer { try? handle.close() }
                    while let data = try handle.read(upToCount: pieceBytes), !data.isEmpty {
                        var frame = Flotilla_V1_SnapshotFrame()
                        frame.piece.family = UInt32(family)
                        frame.piece.file = UInt32(number)
                        frame.piece.data = data
                        try await writer.write(frame)
                        pieces += 1
                    }
                }
            }
            var end = Flotilla_V1_SnapshotFrame()
            end.end.pieces = pieces
            try await writer.write(end)
        }
        return result.accepted
    }

    /// Receives into files, then has the host load and install them.
    static func receive<Machine: StateMachine>(
        _ frames: RPCAsyncSequence<Flotilla_V1_SnapshotFrame, any Error>, node: Node<Machine>
    ) async throws -> Flotilla_V1_SnapshotResult {
        func refuse(_ reason: String) -> Flotilla_V1_SnapshotResult {
            var result = Flotilla_V1_SnapshotResult()
            result.reason = reason
            return result
        }
        guard let host = node.host else { return refuse("the node is starting") }
        guard let turn = node.beginReceiving() else { return refuse("another snapshot is being received") }
        defer { node.endReceiving(turn) }
        let directory = try host.makeIncomingDirectory()
        defer { host.removeIncomingDirectory(directory) }
        var header: SnapshotHeader?
        var manifests: [FamilyManifest] = []
        var pieces: UInt64 = 0
        var current: (path: String, handle: FileHandle)?
        defer { try? current?.handle.close() }
        for try await frame in frames {
            guard node.goOnReceiving(turn) else {
                return refuse("the snapshot stood still, and another one took its place")
            }
            switch frame.frame {
            case .header(let received):
                guard received.gid == node.options.gid,
                    node.clusterID.isEmpty || received.clusterID.array == node.clusterID
                else { return refuse("the snapshot is of another group or cluster") }
                guard received.toIncarnation.array == node.incarnation.bytes else {
                    return refuse("the snapshot is for an earlier life of this node; its disk was lost")
                }
                header = try SnapshotHeader(encoded: received.header.array)
                manifests = try received.manifests.map { try JSONDecoder().decode(FamilyManifest.self, from: $0) }
                for family in manifests.indices {
                    try FileManager.default.createDirectory(
                        atPath: "\(directory)/\(family)", withIntermediateDirectories: false)
                }
            case .piece(let piece):
                guard manifests.indices.contains(Int(piece.family)),
                    manifests[Int(piece.family)].files.indices.contains(Int(piece.file))
                else { return refuse("a piece of no file") }
                let name = manifests[Int(piece.family)].files[Int(piece.file)].name
                guard !name.contains("/"), !name.hasPrefix(".") else {
                    return refuse("a file name that leads elsewhere")
                }
                let path = "\(directory)/\(piece.family)/\(name)"
                if current?.path != path {
                    try current?.handle.close()
                    _ = FileManager.default.createFile(atPath: path, contents: nil)
                    current = (path, try FileHandle(forWritingTo: URL(fileURLWithPath: path)))
                }
                try current?.handle.write(contentsOf: piece.data)
                pieces += 1
            case .end(let end):
                guard let header, end.pieces == pieces else {
                    return refuse("\(pieces) of \(end.pieces) pieces arrived")
                }
                try current?.handle.close()
                current = nil
                let complete = manifests
                try await offload { try host.install(header, manifests: complete, from: directory) }
                var result = Flotilla_V1_SnapshotResult()
                result.accepted = true
                return result
            case nil: return refuse("an empty frame")
            }
        }
        return refuse("the stream ended early")
    }
}

/// Runs what blocks on a thread of its own, off the cooperative pool.
func offload<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result {
    try await withCheckedThrowingContinuation { continuation in
        DispatchQueue.global().async {
            continuation.resume(with: Swift.Result { try body() })
        }
    }
}
