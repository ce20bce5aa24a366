internal import Engines
internal import Logging
internal import Synchronization

/// Keeps a node from filling its disk to the last byte.
///
/// With little room left new values are refused and deletes are still taken. If the disk fills up nevertheless (others
/// write to it too), a reserve is given up, which lets deletes through; it is set aside anew once there is room.
final class SpaceGuard: Sendable {
    /// Below this puts are refused. What is on its way needs room too, and so does the engine's own work.
    private let lowBytes: UInt64
    /// Above this they are taken again, and the reserve is made.
    private let enoughBytes: UInt64
    /// A fast writer fills tens of MiB in a second.
    private static let pause: Duration = .milliseconds(200)

    private let directory: NodeDirectory
    private let engine: any StorageEngine
    private let log: Logger
    private let short = Atomic<Bool>(false)

    init(_ directory: NodeDirectory, _ engine: any StorageEngine, log: Logger) {
        self.directory = directory
        self.engine = engine
        self.log = log
        lowBytes = NodeDirectory.reserveBytes + engine.capabilities.headroomBytes
        enoughBytes = lowBytes + 2 * NodeDirectory.reserveBytes
        directory.makeReserve()
    }

    /// New values should be refused.
    var isShort: Bool { short.load(ordering: .relaxed) }

    /// Bytes that a transfer may take.
    var room: UInt64 {
        guard let free = directory.freeBytes else { return .max }
        return free > lowBytes ? free - lowBytes : 0
    }

    /// A write found no room. Called from the thread that will try again.
    func noteFull() {
        directory.releaseReserve()
        set(true)
    }

    /// How often the engine is asked to give back what deletes have freed, while room is short, in rounds.
    private static let compactionRounds = 25

    func run() async {
        var round = 0
        while !Task.isCancelled {
            try? await Task.sleep(for: Self.pause)
            round += 1
            if isShort, round % Self.compactionRounds == 0 {
                // Compacting takes room before it gives room.
                directory.releaseReserve()
                let engine = engine
                do { try await offload { try engine.compact() } } catch { log.warning("compacting: \(error)") }
            }
            guard let free = directory.freeBytes else { continue }
            if free >= enoughBytes {
                directory.makeReserve()
                set(false)
                continue
            }
            // Files that don't shrink hold room for new rows all the same.
            let engine = engine
            let reusable = (try? await offload { try engine.statistics().reusableBytes }) ?? 0
            if free + reusable < lowBytes { set(true) } else if free + reusable >= enoughBytes { set(false) }
        }
    }

    private func set(_ isShort: Bool) {
        guard short.exchange(isShort, ordering: .relaxed) != isShort else { return }
        if isShort {
            log.error(
                "the disk of \(directory.path) is nearly full; new values are refused, deletes are taken. Make room there"
            )
        } else {
            log.info("there is room again in \(directory.path)")
        }
    }
}
