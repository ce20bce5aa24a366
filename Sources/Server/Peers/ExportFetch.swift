internal import Engines
internal import Foundation
internal import GRPCCore
internal import Keyspace
internal import Logging
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Synchronization
internal import Wire

/// The receiver's side of families in motion: asks for an export, and reads its files over a connection of its own, so
/// that heartbeats never wait behind them. A connection that breaks is taken up again where it broke.
struct ExportFetch {
    /// How often one file is taken up again without a byte of progress between.
    private static let attemptsMax = 20
    private static let pause: Duration = .milliseconds(250)
    /// A sender that sends nothing for so long counts as broken.
    private static let idleMax: Duration = .seconds(15)
    /// Making the export of a large group takes its time.
    private static let openTimeout: Duration = .seconds(600)

    /// What is asked for, and of whom.
    struct Order: Sendable {
        var party: Party
        var what: ExportQuestion
        /// Forms in which the receiver takes families.
        var formats: [String]

        fileprivate var wire: Flotilla_V1_OpenExportRequest {
            var request = Flotilla_V1_OpenExportRequest()
            request.clusterID = Data(party.clusterID)
            request.gid = party.gid.rawValue
            request.identity = Data(party.identity)
            request.formats = formats
            switch what {
            case .snapshot(let life): request.snapshotFor = Data(life.bytes)
            case .shard(let shard): request.shard = Flotilla_V1_ShardEpoch(shard)
            case .copy(let fromLeader): request.copy.fromLeader = fromLeader
            }
            return request
        }
    }

    let header: [UInt8]
    let manifests: [FamilyManifest]

    /// Fetches into `directory`, family `n` into `n/`, unless it needs more than `room` bytes. `isWanted` is asked now and
    /// then, and ends the fetch.
    static func run(
        _ order: Order, from address: String, into directory: String,
        room: UInt64, progress: TransferProgress = TransferProgress(),
        isWanted: @escaping @Sendable () -> Bool = { true }
    ) async throws -> ExportFetch {
        guard let endpoint = Address(toCall: address) else { throw MoveObstacle(text: "\(address) is not an address") }
        let connection = try Connection(endpoint)
        let peer = Flotilla_V1_Peer.Client(wrapping: connection.client)
        let export = try await peer.openExport(order.wire, options: .flotilla(timeout: openTimeout))
        let manifests = try export.manifests.map { try JSONDecoder().decode(FamilyManifest.self, from: $0) }
        var failure: (any Error)?
        do {
            // The files, and what is made of them.
            let needed = manifests.reduce(UInt64(0)) { $0 + min($1.fileBytes, 1 << 40) }
            progress.begin(needed)
            guard needed * 2 <= room else {
                throw MoveObstacle(
                    text: "\(needed >> 20) MiB are to come, twice that is needed, and \(room >> 20) MiB are free")
            }
            for (family, manifest) in manifests.enumerated() {
                let path = "\(directory)/\(family)"
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
                for (number, file) in manifest.files.enumerated() {
                    // A name that leads elsewhere must not be written to.
                    guard !file.name.isEmpty, !file.name.contains("/"), !file.name.hasPrefix(".") else {
                        throw MoveObstacle(text: "\(address) sent the file name \(file.name)")
                    }
                    var part = Flotilla_V1_ReadExportRequest()
                    part.gid = order.party.gid.rawValue
                    part.id = export.id
                    part.family = UInt32(family)
                    part.file = UInt32(number)
                    try await fetch(part, peer, to: "\(path)/\(file.name)", bytes: file.bytes, progress, isWanted)
                }
            }
        } catch {
            failure = error
        }
        var end = Flotilla_V1_CloseExportRequest()
        end.gid = order.party.gid.rawValue
        end.id = export.id
        // If this is lost, the export goes by itself.
        _ = try? await peer.closeExport(end, options: .flotilla(timeout: .seconds(2)))
        if let failure { throw failure }
        return ExportFetch(header: export.header.array, manifests: manifests)
    }

    private static func fetch(
        _ request: Flotilla_V1_ReadExportRequest, _ peer: Flotilla_V1_Peer.Client<Connection.Transport>,
        to path: String, bytes: UInt64, _ progress: TransferProgress, _ isWanted: @escaping @Sendable () -> Bool
    ) async throws {
        guard FileManager.default.createFile(atPath: path, contents: nil) else {
            throw MoveObstacle(text: "can't create \(path)")
        }
        var attempts = 0
        var offset: UInt64 = 0
        while offset < bytes {
            var part = request
            part.offset = offset
            let before = offset
            do {
                offset = try await withIdleDeadline(idleMax) { [part] pulse in
                    try await peer.readExport(part, options: .flotilla()) { response in
                        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
                        defer { try? handle.close() }
                        var at = try handle.seekToEnd()
                        for try await piece in response.messages {
                            pulse.beat()
                            at += UInt64(piece.data.count)
                            guard at <= bytes else { throw MoveObstacle(text: "\(path): more bytes than announced") }
                            try handle.write(contentsOf: piece.data)
                            progress.add(UInt64(piece.data.count))
                            await Failpoint.reach("piece-fetched")
                            guard isWanted() else { throw MoveObstacle(text: "another transfer took its place") }
                        }
                        return at
                    }
                }
                if offset == before { throw MoveObstacle(text: "\(path): \(offset) of \(bytes) bytes came") }
            } catch let error as MoveObstacle {
                throw error
            } catch {
                // The sender has forgotten the export, or can't be reached: what has come stays, for a while.
                if KvError(carriedBy: error)?.code == .notFound { throw error }
                offset = (try? FileManager.default.attributesOfItem(atPath: path)[.size] as? UInt64) ?? 0
                attempts = offset > before ? 0 : attempts + 1
                guard attempts < attemptsMax, !Task.isCancelled, isWanted() else { throw error }
                try await Task.sleep(for: pause)
            }
        }
    }
}

/// How far a fetch has come, for those who watch.
final class TransferProgress: Sendable {
    private let bytes = Mutex((copied: UInt64(0), total: UInt64(0)))

    /// From a (next) source: what came from another counts no more.
    func begin(_ total: UInt64) { bytes.withLock { $0 = (0, total) } }

    func add(_ count: UInt64) { bytes.withLock { $0.copied += count } }

    var copied: UInt64 { bytes.withLock { $0.copied } }
    var total: UInt64 { bytes.withLock { $0.total } }
}
