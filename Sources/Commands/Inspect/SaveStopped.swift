internal import ArgumentParser
internal import CommandSupport
internal import Engines
internal import Foundation
internal import Inspect
public import Keyspace

/// `flotilla snapshot save` and `flotilla backup create`: archives of stopped nodes.
public enum SaveStopped {
    /// Writes a snapshot and prints what was written. Throws the exit code after a sentence on standard error.
    ///
    /// - Parameters:
    ///   - gid: one group, where the node hosts several.
    ///   - madeBy: the program and its version.
    public static func run(from: String, out: String, gid: GroupID? = nil, asJSON: Bool = false, madeBy: String) throws
    {
        try report(out, asJSON) { (now, progress) throws(EngineError) in
            try ArchiveMaker.save(from: from, to: out, gid: gid, madeBy: madeBy, createdAtMs: now, progress)
        }
    }

    /// Writes a backup in the same way. `from`: a stopped node's directory of the controller and of each group.
    public static func backUp(from: [String], out: String, asJSON: Bool = false, madeBy: String) throws {
        try report(out, asJSON) { (now, progress) throws(EngineError) in
            try ArchiveMaker.backUp(from: from, to: out, madeBy: madeBy, createdAtMs: now, progress)
        }
    }

    private static func report(
        _ out: String, _ asJSON: Bool, _ make: (UInt64, ReadProgress) throws(EngineError) -> ArchiveManifest
    ) throws {
        let now = UInt64(max(0, Date().timeIntervalSince1970 * 1000))
        let bar = ProgressBar()
        let manifest = try reportEngine { () throws(EngineError) in
            defer { bar.clear() }
            return try tidying({ Interruption.discardAll() }) { () throws(EngineError) in
                try make(now, ReadProgress { bar.show($0) })
            }
        }
        try ArchiveSummary(path: out, manifest).write(asJSON: asJSON)
    }
}

/// What a command says of the archive that it has made.
struct ArchiveSummary: Encodable {
    /// One group, as it was taken from a node that serves.
    struct Served: Encodable {
        var gid: GroupID
        var node: UInt64
        var servedAs: String
        var appliedIndex: UInt64
    }

    var path: String
    var groups: [GroupID]
    var keys: UInt64
    var fileBytes: UInt64
    var config: UInt64?
    var served: [Served]?
    /// What came over the line, and what an earlier backup had.
    var bytesPulled: UInt64?
    var bytesReused: UInt64?
    var familiesReused: Int?
    private var titles: String

    private enum CodingKeys: String, CodingKey {
        case path, groups, keys, fileBytes, config, served, bytesPulled, bytesReused, familiesReused
    }

    init(path: String, _ manifest: ArchiveManifest, _ progress: PullProgress? = nil) {
        self.path = path
        groups = manifest.groups.map(\.gid)
        keys = manifest.keys
        fileBytes = manifest.fileBytes
        titles = manifest.groups.map { group in
            guard let role = group.servedAs else { return "\(group.title) at \(group.appliedIndex)" }
            return "\(group.title) at \(group.appliedIndex) (\(role), node \(group.nodeId))"
        }.joined(separator: ", ")
        guard let progress else { return }
        config = manifest.configNumber
        served = manifest.groups.compactMap { group in
            group.servedAs.map {
                Served(gid: group.gid, node: group.nodeId, servedAs: $0, appliedIndex: group.appliedIndex)
            }
        }
        bytesPulled = progress.bytesPulled
        bytesReused = progress.bytesReused
        familiesReused = progress.familiesReused
    }

    func write(asJSON: Bool) throws {
        let text =
            asJSON
            ? try JSONText.pretty(self) : "\(path): \(titles); \(keys) records, \(humanBytes(fileBytes))\n"
        try StandardOutput.write(text)
    }
}
