internal import Bytes
public import Engines
internal import Foundation
public import Keyspace
public import RaftLog

/// Fills the directory of an archive. It is an archive once `seal` has returned; before that nothing takes it for one.
public final class ArchiveWriter {
    private let output: UnfinishedOutput
    public private(set) var manifest: ArchiveManifest

    /// Where the archive will be.
    public var destination: String { output.destination }
    /// Where it is until it is sealed.
    public var path: String { output.path }

    /// Begins an archive in a directory that doesn't exist yet, or is empty.
    public init(_ destination: String, _ manifest: ArchiveManifest) throws(EngineError) {
        output = try UnfinishedOutput(destination)
        self.manifest = manifest
    }

    /// A new directory for the files of one family.
    public func makeFamily(role: String, gid: GroupID, number: Int) throws(EngineError) -> String {
        let directory = "\(path)/\(ArchiveManifest.Group.path(role: role, gid: gid))/\(number)"
        if fileExists(directory) { throw .mismatch("\(role == "controller" ? role : "group \(gid)") is named twice") }
        try makeDirectories(directory)
        return directory
    }

    /// Removes what was written of a group that was not added.
    func discardGroup(role: String, gid: GroupID) {
        removeTree("\(path)/\(ArchiveManifest.Group.path(role: role, gid: gid))", itself: true)
    }

    /// Adds a group whose families, in the order of the header, lie in the directories that `makeFamily` made.
    public func add(
        role: String, gid: GroupID, nodeId: UInt64, engine: EngineKind, header: SnapshotHeader,
        families: [FamilyManifest], servedAs: String? = nil
    ) throws(EngineError) {
        invariant(header.families.count == families.count, "families don't match their header")
        let group = ArchiveManifest.Group.path(role: role, gid: gid)
        try makeDirectories("\(path)/\(group)")
        let bytes = header.encoded
        try writeFile("\(path)/\(group)/\(Archive.headerName)", bytes)
        manifest.groups.append(
            ArchiveManifest.Group(
                role: role, gid: gid, nodeId: nodeId, engine: engine,
                appliedIndex: header.applied.position.index, appliedTerm: header.applied.position.term,
                logTimeMs: header.applied.logTime,
                header: .init(name: Archive.headerName, bytes: UInt64(bytes.count), crc32c: crc32c(bytes)),
                families: zip(header.families, families).enumerated().map { number, family in
                    ArchiveManifest.Family(name: family.0, path: "\(number)", manifest: family.1)
                }, servedAs: servedAs))
        manifest.groups.sort { $0.gid < $1.gid }
    }

    /// The shard map under which a backup is taken.
    public func set(configNumber: UInt64) { manifest.configNumber = configNumber }

    /// Refuses to go on with a backup of which no cluster can be made.
    public func checkBackup() throws(EngineError) { _ = try Backup(Archive(unsealed: path, manifest)) }

    /// Makes every file durable, then the manifest, and then the seal that says so, and puts them in their place.
    public func seal() throws(EngineError) {
        try InspectFiles.syncTree(path)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(manifest) else { throw .unsupported("encoding the manifest") }
        let bytes = Array(data) + [10]
        try writeFile("\(path)/\(Archive.manifestName)", bytes, sync: true)
        try writeFile("\(path)/\(Archive.sealName)", ArchiveSeal(of: bytes).bytes, sync: true)
        try syncDirectory(path)
        try output.publish(last: Archive.sealName)
    }

    /// Removes what was written, if it isn't sealed.
    public func discard() { output.discard() }
}

/// The last file of an archive: length and checksum of its manifest, in one line of text.
struct ArchiveSeal: Equatable {
    var line: String

    init(of manifest: [UInt8]) {
        let digits = String(crc32c(manifest), radix: 16)
        let padded = String(repeating: "0", count: 8 - digits.count) + digits
        line = "flotilla-archive-1 \(manifest.count) \(padded)\n"
    }

    var bytes: [UInt8] { Array(line.utf8) }
}
