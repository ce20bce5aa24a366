internal import Engines
internal import Foundation
internal import GRPCCore
internal import Keyspace
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Synchronization
internal import Wire

/// The sender's side of families in motion: writes them into files when a receiver asks, and hands the files out. An
/// `ExportTable` decides who shares them and when they go.
///
/// An export is made at disk speed and holds no snapshot of the engine afterwards, so a slow receiver costs disk space
/// and nothing else.
final class ExportDesk: Sendable {
    typealias Subject = ExportTable.Subject
    typealias Make = @Sendable (_ directory: String) throws -> (header: [UInt8], manifests: [FamilyManifest])

    private static let pieceBytes = 256 << 10
    /// A reader that takes nothing for so long is dropped: its export is kept as long as it reads.
    private static let stallMax: Duration = .seconds(60)

    private struct Export {
        var directory: String
        var header: [UInt8]
        var manifests: [FamilyManifest]
    }

    private struct State {
        var table = ExportTable()
        var exports: [UInt64: Export] = [:]
        /// What others wait for.
        var making: [UInt64: Task<ExportOffer, any Error>] = [:]
    }

    private let state = Mutex(State())

    /// An export for a receiver. `make` writes into a new directory, family `n` into `n/`, on a thread that may wait.
    /// - Parameter subject: several receivers may have it: it is made once, and gone when the last of them has closed it.
    func open(_ subject: Subject? = nil, in staging: StagingArea, _ make: @escaping Make) async throws -> ExportOffer {
        removeIdle()
        let id = UInt64.random(in: 1...UInt64.max)
        let task = try state.withLock { state -> Task<ExportOffer, any Error> in
            switch state.table.open(subject, as: id, now: HostClock.monotonic()) {
            case .full: throw KvError(.busy, "too many exports are open", retryAfterMilliseconds: 500)
            case .make:
                let task = Task { try await self.make(id, in: staging, make) }
                state.making[id] = task
                return task
            case .wait(let shared):
                if let task = state.making[shared] { return task }
            case .ready(let shared):
                if let export = state.exports[shared] {
                    let offer = ExportOffer(id: shared, header: export.header, manifests: export.manifests)
                    return Task { offer }
                }
            }
            throw KvError(.internal, "an export is known, and isn't there")
        }
        return try await task.value
    }

    private func make(_ id: UInt64, in staging: StagingArea, _ make: @escaping Make) async throws -> ExportOffer {
        var directory: String?
        do {
            let place = try staging.make("out")
            directory = place
            let made = try await offload { try make(place) }
            state.withLock { state in
                state.exports[id] = Export(
                    directory: place, header: made.header, manifests: made.manifests)
                state.table.made(id, now: HostClock.monotonic())
                state.making[id] = nil
            }
            expire(id)
            return ExportOffer(id: id, header: made.header, manifests: made.manifests)
        } catch {
            if let directory { staging.remove(directory) }
            state.withLock { state in
                state.table.failed(id)
                state.making[id] = nil
            }
            throw error
        }
    }

    /// Whether it is there, or is being made: then another receiver costs no room.
    func has(_ subject: Subject) -> Bool { state.withLock { $0.table.has(subject) } }

    /// Has the export go once it has been idle for too long.
    private func expire(_ id: UInt64) {
        Task { [weak self] in
            while let wait = self?.idleWait(id) {
                try? await Task.sleep(for: .milliseconds(Int64(clamping: wait)))
                self?.removeIdle()
            }
        }
    }

    private func idleWait(_ id: UInt64) -> Milliseconds? {
        let now = HostClock.monotonic()
        return state.withLock { $0.table.looksIdle(id, now: now) }.map { $0 - min($0, now) }
    }

    private func removeIdle() {
        let idle = state.withLock { state in
            state.table.removeIdle(now: HostClock.monotonic()).compactMap { state.exports.removeValue(forKey: $0) }
        }
        for export in idle { removeTree(export.directory, itself: true) }
    }

    /// A part of one file of an export.
    struct Part: Sendable {
        var id: UInt64
        var family: Int
        var file: Int
        var offset: UInt64
        /// 0: the rest of the file.
        var length: UInt64
    }

    /// Sends a part of one file, piece by piece.
    func read(_ part: Part, _ send: @escaping @Sendable (Data) async throws -> Void) async throws {
        let path = state.withLock { state -> String? in
            guard let export = state.exports[part.id], export.manifests.indices.contains(part.family) else {
                return nil
            }
            let files = export.manifests[part.family].files
            guard files.indices.contains(part.file) else { return nil }
            guard state.table.beginRead(part.id) else { return nil }
            return "\(export.directory)/\(part.family)/\(files[part.file].name)"
        }
        guard let path else { throw KvError(.notFound, "no such export, or no such file in it") }
        defer {
            state.withLock { $0.table.endRead(part.id, now: HostClock.monotonic()) }
        }
        // A write waits for the reader to make room. A reader that is slow on purpose asks for little at a time.
        try await withIdleDeadline(Self.stallMax) { pulse in
            let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            defer { try? handle.close() }
            try handle.seek(toOffset: part.offset)
            var left = part.length == 0 ? UInt64.max : part.length
            while left > 0, let data = try handle.read(upToCount: Int(min(UInt64(Self.pieceBytes), left))),
                !data.isEmpty
            {
                try await send(data)
                left -= UInt64(data.count)
                pulse.beat()
            }
        }
    }

    func close(_ id: UInt64) {
        let last = state.withLock { state in
            state.table.close(id) ? state.exports.removeValue(forKey: id) : nil
        }
        if let export = last {
            removeTree(export.directory, itself: true)
        }
    }
}

/// An export that lies ready, and what its receiver needs to know of it.
struct ExportOffer: Sendable {
    /// Whose state a copy is.
    struct Source: Sendable {
        var id: UInt64
        var engine: String
        /// It led, and had confirmed that.
        var leads: Bool
    }

    /// Names the export in the calls that follow.
    var id: UInt64
    /// Of a group: a snapshot header (docs/formats.md).
    var header: [UInt8]
    /// One for each family.
    var manifests: [FamilyManifest]
    /// Of a copy only.
    var source: Source?
}
