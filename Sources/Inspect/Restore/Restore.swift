public import Engines
internal import Foundation
internal import Keyspace
internal import RaftLog
internal import Sharding

/// Makes the data directories of a new cluster from a backup.
public enum Restore {
    /// How far it is.
    public struct Progress: Sendable, Equatable {
        public var nodes = 0
        public var nodesTotal = 0
        public var families = 0
        public var familiesTotal = 0
        /// Of all nodes together.
        public var keys: UInt64 = 0
        public var bytes: UInt64 = 0
    }

    /// Makes `directory/controller-0`, `directory/group-100-0`, … as the plan says, all of them or none. They are durable
    /// when it returns.
    ///
    /// Every node loads the archive's chunks into its own engine, which verifies counts, checksums and content hash, and
    /// each family is then read back and compared. (A native form would have to be made from the loaded family first,
    /// which costs as much as loading the portable one.)
    ///
    /// - Parameter directory: must not exist, or be empty.
    public static func run(
        _ backup: Backup, _ plan: RestorePlan, to directory: String, progress: (Progress) -> Void = { _ in }
    ) throws(EngineError) -> Progress {
        let output = try UnfinishedOutput(directory)
        do throws(EngineError) {
            let done = try fill(backup, plan, output.path, progress)
            try InspectFiles.syncTree(output.path)
            try output.publish()
            return done
        } catch {
            output.discard()
            throw error
        }
    }

    private static func fill(
        _ backup: Backup, _ plan: RestorePlan, _ directory: String, _ progress: (Progress) -> Void
    ) throws(EngineError) -> Progress {
        var parts: [GroupID: Backup.Part] = [0: backup.controller]
        for part in backup.groups { parts[part.group.gid] = part }
        var done = Progress(nodesTotal: plan.nodes.count)
        done.familiesTotal = plan.nodes.reduce(0) { $0 + (parts[$1.gid]?.group.families.count ?? 0) }
        for node in plan.nodes {
            guard let part = parts[node.gid], let record = plan.records[node.gid] else {
                throw .mismatch("the plan names group \(node.gid), which the backup lacks")
            }
            var identity = DirectoryIdentity(
                engine: node.engine, role: node.role, groupId: node.gid.rawValue, nodeId: node.id,
                incarnation: node.incarnation.description)
            identity.clusterId = Incarnation(bytes: plan.clusterID)?.description
            identity.hasJoined = true
            let made = try NodeDirectory.make("\(directory)/\(node.name)", identity)
            let engine = try made.makeEngine()
            try load(part, of: backup, record, plan.map, into: engine) { manifest in
                done.families += 1
                done.keys += manifest.keys
                done.bytes += manifest.bytes
                progress(done)
            }
            try engine.close()
            try made.seal()
            done.nodes += 1
            progress(done)
        }
        return done
    }

    private static func load(
        _ part: Backup.Part, of backup: Backup, _ record: BootstrapRecord, _ map: ShardMap,
        into engine: any StorageEngine, _ loaded: (FamilyManifest) -> Void
    ) throws(EngineError) {
        let table = try FamilyTable(engine: engine)
        let layout = try table.layout(of: part.group.gid.rawValue)
        var families: [FamilyID] = []
        for family in part.group.families {
            let number = try table.take()
            try engine.ingest(family.manifest, from: backup.archive.directory(of: family, in: part.group), into: number)
            try readBack(family, number, engine)
            families.append(number)
            loaded(family.manifest)
        }
        var header = part.header
        var batch = WriteBatch()
        if part.group.gid == 0 {
            guard ControllerMachine.record(map, in: &header, families: families, &batch) else {
                throw .corruption(place: "\(backup.archive.path): the controller has no family of maps")
            }
        }
        record.write(restoring: header, families: families, to: layout, in: &batch)
        try engine.write(batch, durability: .synced)
    }

    private static func readBack(
        _ family: ArchiveManifest.Family, _ number: FamilyID, _ engine: any StorageEngine
    ) throws(EngineError) {
        let view = try engine.snapshot()
        defer { view.close() }
        let hash = try view.contentHash(of: number)
        guard hash.description == family.manifest.contentHash else {
            throw .corruption(
                place: "\(family.name) reads as \(hash), but \(family.manifest.contentHash) was written")
        }
    }
}
