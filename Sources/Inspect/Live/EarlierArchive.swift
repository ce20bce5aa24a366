public import Engines
internal import Keyspace

/// An earlier backup of the same cluster, for the families in it that haven't changed since.
public struct EarlierArchive: Sendable {
    /// A family that the earlier backup has.
    struct Match {
        var manifest: FamilyManifest
        var directory: String

        /// Gives its files a second name (or copies them, where that can't be), each verified before.
        ///
        /// - Returns: false if one is damaged; then none is there.
        func link(into target: String) throws(EngineError) -> Bool {
            let paths: [String]
            do throws(EngineError) { paths = try ExportFile.verified(manifest, in: directory) } catch { return false }
            for (file, path) in zip(manifest.files, paths) {
                try linkOrCopy(path, to: ExportFile.path(file, in: target))
            }
            return true
        }
    }

    /// What makes two families the same, whoever exported them.
    private struct Contents: Hashable {
        var role: String
        var gid: GroupID
        var keys: UInt64
        var bytes: UInt64
        var firstKey: [UInt8]?
        var lastKey: [UInt8]?
        var contentHash: String

        init(_ manifest: FamilyManifest, _ role: String, _ gid: GroupID) {
            self.role = role
            self.gid = gid
            keys = manifest.keys
            bytes = manifest.bytes
            firstKey = manifest.firstKey
            lastKey = manifest.lastKey
            contentHash = manifest.contentHash
        }
    }

    public let path: String
    private var families: [Contents: Match] = [:]

    /// - Parameter clusterId: the cluster that is backed up now; another one's backup is refused.
    public init(_ path: String, clusterId: String) throws(EngineError) {
        let archive = try Archive(path)
        guard archive.manifest.clusterId == clusterId else {
            throw .mismatch(
                "\(path) is of cluster \(archive.manifest.clusterId), and this is cluster \(clusterId); name an earlier "
                    + "backup of this one, or leave --since out")
        }
        self.path = path
        for group in archive.manifest.groups {
            for family in group.families {
                families[Contents(family.manifest, group.role, group.gid)] = Match(
                    manifest: family.manifest, directory: archive.directory(of: family, in: group))
            }
        }
    }

    func match(_ manifest: FamilyManifest, role: String, gid: GroupID) -> Match? {
        families[Contents(manifest, role, gid)]
    }
}
