internal import ArgumentParser
internal import Engines
internal import Foundation
internal import Inspect

/// `flotilla snapshot save --from`: a snapshot of a stopped node.
public enum SaveStopped {
    /// Writes the snapshot and prints what was written. Throws the exit code after a sentence on standard error.
    ///
    /// - Parameters:
    ///   - gid: one group, where the node hosts several.
    ///   - madeBy: the program and its version.
    public static func run(from: String, out: String, gid: UInt64? = nil, asJSON: Bool = false, madeBy: String) throws {
        let now = UInt64(max(0, Date().timeIntervalSince1970 * 1000))
        let bar = ProgressBar()
        do {
            let manifest = try ArchiveMaker.save(
                from: from, to: out, gid: gid, madeBy: madeBy, createdAtMs: now, ReadProgress { bar.show($0) })
            bar.clear()
            let text: String
            if asJSON {
                text = try JSONText.pretty(
                    Summary(
                        path: out, groups: manifest.groups.map(\.gid), keys: manifest.keys,
                        fileBytes: manifest.fileBytes))
            } else {
                let groups = manifest.groups.map { "\($0.title) at \($0.appliedIndex)" }.joined(separator: ", ")
                text = "\(out): \(groups); \(manifest.keys) records, \(humanBytes(manifest.fileBytes))\n"
            }
            FileHandle.standardOutput.write(Data(text.utf8))
        } catch let error as EngineError {
            bar.clear()
            writeNote("flotilla: \(error.sentence)")
            throw error.exitCode
        }
    }

    private struct Summary: Encodable {
        var path: String
        var groups: [UInt64]
        var keys: UInt64
        var fileBytes: UInt64
    }
}
