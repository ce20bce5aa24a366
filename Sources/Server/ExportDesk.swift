internal import Engines
internal import Foundation
internal import GRPCCore
internal import RaftHost
internal import RaftLog
internal import Synchronization
internal import Wire

/// The sender's side of families in motion: writes them into files when a receiver asks, and hands the files out.
///
/// An export is made at disk speed and holds no snapshot of the engine afterwards, so a slow receiver costs disk space
/// and nothing else. How many there are is bounded, and one that nobody reads goes after a minute.
final class ExportDesk: Sendable {
    private static let openMax = 8
    private static let idleMax: Milliseconds = 60_000
    private static let pieceBytes = 256 << 10
    /// A reader that takes nothing for so long is dropped: its export is kept as long as it reads.
    private static let stallMax: Duration = .seconds(60)

    private struct Export {
        var directory: String
        var manifests: [FamilyManifest]
        var usedAt: Milliseconds
        /// Streams that read from it.
        var readers = 0
    }

    private struct State {
        var exports: [UInt64: Export] = [:]
        /// Exports that are being made.
        var making = 0
    }

    private let state = Mutex(State())

    /// Makes an export. `make` writes into a new directory, family `n` into `n/`, on a thread that may wait.
    func open(
        in host: any StagingHost,
        _ make: @escaping @Sendable (_ directory: String) throws -> (header: [UInt8], manifests: [FamilyManifest])
    ) async throws -> Flotilla_V1_Export {
        removeIdle()
        let hasRoom = state.withLock { state -> Bool in
            guard state.exports.count + state.making < Self.openMax else { return false }
            state.making += 1
            return true
        }
        guard hasRoom else {
            throw Flotilla_V1_Error(.busy, "too many exports are open", retryAfterMilliseconds: 500).status
        }
        defer { state.withLock { $0.making -= 1 } }
        let directory = try host.makeStaging("out")
        let made: (header: [UInt8], manifests: [FamilyManifest])
        do { made = try await offload { try make(directory) } } catch {
            host.removeStaging(directory)
            throw error
        }
        var response = Flotilla_V1_Export()
        response.id = UInt64.random(in: 1...UInt64.max)
        response.header = Data(made.header)
        do { response.manifests = try made.manifests.map { try JSONEncoder().encode($0) } } catch {
            host.removeStaging(directory)
            throw error
        }
        state.withLock { state in
            state.exports[response.id] = Export(
                directory: directory, manifests: made.manifests, usedAt: HostClock.monotonic())
        }
        let id = response.id
        Task { [weak self] in
            while self?.isOpen(id) == true {
                try? await Task.sleep(for: .seconds(15))
                self?.removeIdle()
            }
        }
        return response
    }

    private func isOpen(_ id: UInt64) -> Bool { state.withLock { $0.exports[id] != nil } }

    private func removeIdle() {
        let now = HostClock.monotonic()
        let idle = state.withLock { state -> [String] in
            let old = state.exports.filter { $0.value.readers == 0 && now > $0.value.usedAt + Self.idleMax }
            for id in old.keys { state.exports[id] = nil }
            return old.values.map(\.directory)
        }
        for directory in idle { removeFiles(directory) }
    }

    private func removeFiles(_ directory: String) { try? FileManager.default.removeItem(atPath: directory) }

    /// Sends a part of one file.
    func read(
        _ request: Flotilla_V1_ReadExportRequest, _ writer: RPCWriter<Flotilla_V1_ExportPiece>
    ) async throws {
        let path = state.withLock { state -> String? in
            guard let export = state.exports[request.id], export.manifests.indices.contains(Int(request.family)) else {
                return nil
            }
            let files = export.manifests[Int(request.family)].files
            guard files.indices.contains(Int(request.file)) else { return nil }
            state.exports[request.id]?.readers += 1
            return "\(export.directory)/\(request.family)/\(files[Int(request.file)].name)"
        }
        guard let path else { throw Flotilla_V1_Error(.notFound, "no such export, or no such file in it").status }
        defer {
            state.withLock { state in
                state.exports[request.id]?.readers -= 1
                state.exports[request.id]?.usedAt = HostClock.monotonic()
            }
        }
        // A write waits for the reader to make room. A reader that is slow on purpose asks for little at a time.
        try await withIdleDeadline(Self.stallMax) { pulse in
            let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            defer { try? handle.close() }
            try handle.seek(toOffset: request.offset)
            var left = request.length == 0 ? UInt64.max : request.length
            while left > 0, let data = try handle.read(upToCount: Int(min(UInt64(Self.pieceBytes), left))),
                !data.isEmpty
            {
                var piece = Flotilla_V1_ExportPiece()
                piece.data = data
                try await writer.write(piece)
                left -= UInt64(data.count)
                pulse.beat()
            }
        }
    }

    func close(_ id: UInt64) {
        if let export = state.withLock({ $0.exports.removeValue(forKey: id) }) { removeFiles(export.directory) }
    }
}

/// Where files on their way lie.
protocol StagingHost: Sendable {
    func makeStaging(_ kind: String) throws(EngineError) -> String
    func removeStaging(_ path: String)
}

extension ReplicaHost: StagingHost {}
