import Engines
import Foundation
import RaftLog

/// What outlives a replica: its storage, and the incarnation that was drawn with it.
///
/// The two belong together. A disk that comes back empty must come back as somebody else, or it could vote twice
/// in one term.
enum Disk {
    case directory(String, EngineKind)
    /// For trying things out: the engine object plays the disk, so it stays while its replica is down.
    case memory(MemoryEngine, Incarnation, staging: StagingArea)

    /// A disk that a replica has open.
    struct Mounted {
        var engine: any StorageEngine
        var incarnation: Incarnation
        /// Where the host puts snapshots together.
        var staging: StagingArea
        /// Holds the directory's lock for as long as it lives.
        var lock: NodeDirectory?
    }

    static func fresh(_ kind: EngineKind, in directory: String, replica: ReplicaID) throws -> Disk {
        guard kind == .memory else { return .directory("\(directory)/replica-\(replica)", kind) }
        let staging = "\(directory)/staging-\(replica)"
        try FileManager.default.createDirectory(atPath: staging, withIntermediateDirectories: true)
        return .memory(MemoryEngine(), randomIncarnation(), staging: StagingArea(staging))
    }

    func mount(gid: UInt64, replica: ReplicaID) throws(EngineError) -> Mounted {
        switch self {
        case .directory(let path, let kind):
            // Makes the directory, or refuses it if it belongs to another replica, group or engine.
            let directory = try NodeDirectory.open(
                path, engine: kind, role: "group", groupId: gid, nodeId: replica.rawValue,
                incarnation: Disk.randomIncarnation().description)
            guard let incarnation = Incarnation(hex: directory.identity.incarnation) else {
                throw .corruption(place: "\(path)/FLOTILLA: incarnation")
            }
            return Mounted(
                engine: try directory.openEngine(), incarnation: incarnation, staging: directory.staging,
                lock: directory)
        case .memory(let engine, let incarnation, let staging):
            return Mounted(engine: engine, incarnation: incarnation, staging: staging)
        }
    }

    func unmount(_ mounted: Mounted) throws(EngineError) {
        switch self {
        case .directory: try mounted.engine.close()
        // As hard as a power cut: nothing survives that wasn't synced.
        case .memory(let engine, _, _): engine.crash(keepingUnsynced: 0)
        }
    }

    private static func randomIncarnation() -> Incarnation {
        Incarnation(high: .random(in: .min ... .max), low: .random(in: .min ... .max))
    }
}
