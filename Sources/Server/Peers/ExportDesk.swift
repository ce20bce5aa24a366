internal import Engines
internal import Foundation
internal import GRPCCore
internal import Keyspace
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
        /// Receivers that have it and haven't closed it.
        var holders = 1
        /// What it is of, if others may have it too.
        var subject: Subject?
    }

    /// What several receivers may ask for, and get one export of: it is the same for all of them.
    struct Subject: Sendable, Hashable {
        var shard: ShardEpoch
        var formats: [String]
    }

    private struct State {
        var exports: [UInt64: Export] = [:]
        /// Exports that are being made.
        var making = 0
        /// Of these, those that others may wait for, and how many do.
        var shared: [Subject: (task: Task<ExportOffer, any Error>, joiners: Int)] = [:]
    }

    private let state = Mutex(State())

    /// An export that several receivers may have: made once, and gone when the last of them has closed it.
    func open(
        _ subject: Subject, in staging: StagingArea,
        _ make: @escaping @Sendable (_ directory: String) throws -> (header: [UInt8], manifests: [FamilyManifest])
    ) async throws -> ExportOffer {
        let task = state.withLock { state -> Task<ExportOffer, any Error> in
            if let (id, export) = state.exports.first(where: { $0.value.subject == subject }) {
                state.exports[id]?.holders += 1
                state.exports[id]?.usedAt = HostClock.monotonic()
                let offer = ExportOffer(id: id, header: [], manifests: export.manifests)
                return Task { offer }
            }
            if let making = state.shared[subject] {
                // Counted now: the first one may have closed it before this one hears that it is there.
                state.shared[subject]?.joiners += 1
                return making.task
            }
            let making = Task {
                do {
                    let offer = try await self.open(in: staging, make)
                    self.state.withLock { state in
                        let joiners = state.shared.removeValue(forKey: subject)?.joiners ?? 0
                        state.exports[offer.id]?.subject = subject
                        state.exports[offer.id]?.holders += joiners
                    }
                    return offer
                } catch {
                    _ = self.state.withLock { $0.shared.removeValue(forKey: subject) }
                    throw error
                }
            }
            state.shared[subject] = (making, 0)
            return making
        }
        return try await task.value
    }

    /// Makes an export. `make` writes into a new directory, family `n` into `n/`, on a thread that may wait.
    func open(
        in staging: StagingArea,
        _ make: @escaping @Sendable (_ directory: String) throws -> (header: [UInt8], manifests: [FamilyManifest])
    ) async throws -> ExportOffer {
        removeIdle()
        let hasRoom = state.withLock { state -> Bool in
            guard state.exports.count + state.making < Self.openMax else { return false }
            state.making += 1
            return true
        }
        guard hasRoom else {
            throw KvError(.busy, "too many exports are open", retryAfterMilliseconds: 500)
        }
        defer { state.withLock { $0.making -= 1 } }
        let directory = try staging.make("out")
        let made: (header: [UInt8], manifests: [FamilyManifest])
        do { made = try await offload { try make(directory) } } catch {
            staging.remove(directory)
            throw error
        }
        let id = UInt64.random(in: 1...UInt64.max)
        state.withLock { state in
            state.exports[id] = Export(
                directory: directory, manifests: made.manifests, usedAt: HostClock.monotonic())
        }
        Task { [weak self] in
            while self?.isOpen(id) == true {
                try? await Task.sleep(for: .seconds(15))
                self?.removeIdle()
            }
        }
        return ExportOffer(id: id, header: made.header, manifests: made.manifests)
    }

    /// Whether it is there, or is being made: then another receiver costs no room.
    func has(_ subject: Subject) -> Bool {
        state.withLock { state in
            state.shared[subject] != nil || state.exports.values.contains { $0.subject == subject }
        }
    }

    private func isOpen(_ id: UInt64) -> Bool { state.withLock { $0.exports[id] != nil } }

    private func removeIdle() {
        let now = HostClock.monotonic()
        let idle = state.withLock { state -> [String] in
            let old = state.exports.filter { $0.value.readers == 0 && now > $0.value.usedAt + Self.idleMax }
            for id in old.keys { state.exports[id] = nil }
            return old.values.map(\.directory)
        }
        for directory in idle { removeTree(directory, itself: true) }
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
            state.exports[part.id]?.readers += 1
            return "\(export.directory)/\(part.family)/\(files[part.file].name)"
        }
        guard let path else { throw KvError(.notFound, "no such export, or no such file in it") }
        defer {
            state.withLock { state in
                state.exports[part.id]?.readers -= 1
                state.exports[part.id]?.usedAt = HostClock.monotonic()
            }
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
        let last = state.withLock { state -> Export? in
            guard let holders = state.exports[id]?.holders else { return nil }
            state.exports[id]?.holders = holders - 1
            return holders > 1 ? nil : state.exports.removeValue(forKey: id)
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
