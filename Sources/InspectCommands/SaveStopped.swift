internal import ArgumentParser
internal import CommandSupport
internal import Engines
internal import Foundation
internal import Inspect

/// `flotilla snapshot save` and `flotilla backup create`: archives of stopped nodes.
public enum SaveStopped {
    /// Writes a snapshot and prints what was written. Throws the exit code after a sentence on standard error.
    ///
    /// - Parameters:
    ///   - gid: one group, where the node hosts several.
    ///   - madeBy: the program and its version.
    public static func run(from: String, out: String, gid: UInt64? = nil, asJSON: Bool = false, madeBy: String) throws {
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
            return try make(now, ReadProgress { bar.show($0) })
        }
        let text: String
        if asJSON {
            text = try JSONText.pretty(
                Summary(
                    path: out, groups: manifest.groups.map(\.gid), keys: manifest.keys, fileBytes: manifest.fileBytes))
        } else {
            let groups = manifest.groups.map { "\($0.title) at \($0.appliedIndex)" }.joined(separator: ", ")
            text = "\(out): \(groups); \(manifest.keys) records, \(humanBytes(manifest.fileBytes))\n"
        }
        FileHandle.standardOutput.write(Data(text.utf8))
    }

    private struct Summary: Encodable {
        var path: String
        var groups: [UInt64]
        var keys: UInt64
        var fileBytes: UInt64
    }
}
