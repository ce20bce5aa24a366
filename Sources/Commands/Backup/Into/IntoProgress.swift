package import Engines
internal import Foundation
internal import Inspect
internal import Keyspace

/// How far a restore into a live cluster has come: the file with which it goes on after an interruption
/// (docs/formats.md, "Progress of a restore").
package struct IntoProgress: Equatable {
    /// Which restore it is of. Another one must not go on from here.
    package struct Job: Equatable {
        /// The archive's seal; its path may change.
        var seal: String
        var clusterID: String
        var prefix: [UInt8]
        var onlyPrefix: [UInt8]
        var existing: ExistingKeys

        package init(seal: String, clusterID: String, prefix: [UInt8], onlyPrefix: [UInt8], existing: ExistingKeys) {
            self.seal = seal
            self.clusterID = clusterID
            self.prefix = prefix
            self.onlyPrefix = onlyPrefix
            self.existing = existing
        }
    }

    var job: Job
    /// For people: where the archive lay.
    var archivePath: String
    package var keysTotal: UInt64
    var bytesTotal: UInt64
    package var answered: PutWindow.Answered

    package init(job: Job, archivePath: String, keysTotal: UInt64, bytesTotal: UInt64, answered: PutWindow.Answered) {
        self.job = job
        self.archivePath = archivePath
        self.keysTotal = keysTotal
        self.bytesTotal = bytesTotal
        self.answered = answered
    }

    /// The sentence for a restore that may not go on from this file; `nil` if it may.
    func refusal(for other: Job, _ path: String) -> String? {
        let difference: String
        if other.seal != job.seal {
            difference = "is of another archive (\(archivePath))"
        } else if other.clusterID != job.clusterID {
            difference = "is into cluster \(job.clusterID), and this is cluster \(other.clusterID)"
        } else if other.prefix != job.prefix {
            difference =
                job.prefix.isEmpty
                ? "is in place (--in-place)" : "is under the prefix \"\(BytesText.escaped(job.prefix))\""
        } else if other.onlyPrefix != job.onlyPrefix {
            difference =
                job.onlyPrefix.isEmpty
                ? "is of all keys" : "is of the keys under \"\(BytesText.escaped(job.onlyPrefix))\""
        } else if other.existing != job.existing {
            difference = "has --existing \(job.existing)"
        } else {
            return nil
        }
        return "the unfinished restore of \(path) \(difference); finish that one first, give this one another file "
            + "with --progress, or remove \(path) to give the other up"
    }
}

/// What happens to a key that the cluster has already.
package enum ExistingKeys: String, Codable, Sendable, CaseIterable {
    /// It gets the archive's value.
    case overwrite
    /// It keeps its own.
    case keep
}

extension IntoProgress {
    private struct Row: Codable {
        var archive: String
        var seal: String
        var clusterId: String
        var prefixBase64: Data
        var onlyPrefixBase64: Data
        var existing: ExistingKeys
        var keysTotal: UInt64
        var bytesTotal: UInt64
        var keys: UInt64
        var bytes: UInt64
        var kept: UInt64
        var lastShard: ShardID?
        var lastKeyBase64: Data?
    }

    private static let name = "flotilla-restore"
    static let formatNewest = 1
    private static let bytesMax = 1 << 20

    /// A line with the format, and length and checksum of what follows; then an object in JSON.
    package func encoded() throws(EngineError) -> [UInt8] {
        let row = Row(
            archive: archivePath, seal: job.seal, clusterId: job.clusterID, prefixBase64: Data(job.prefix),
            onlyPrefixBase64: Data(job.onlyPrefix), existing: job.existing, keysTotal: keysTotal,
            bytesTotal: bytesTotal, keys: answered.keys, bytes: answered.bytes, kept: answered.kept,
            lastShard: answered.last?.shard, lastKeyBase64: answered.last.map { Data($0.key) })
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
        guard let data = try? encoder.encode(row) else { throw .unsupported("encoding the progress of a restore") }
        let body = Array(data) + [10]
        return Array("\(Self.name) \(Self.formatNewest) \(body.count) \(crc32c(body))\n".utf8) + body
    }

    package init(encoded bytes: [UInt8], _ path: String) throws(EngineError) {
        let remedy = "remove it, and the restore begins anew"
        guard let end = bytes.firstIndex(of: 10) else {
            throw .mismatch("\(path) is not the progress of a restore; give another file with --progress")
        }
        let words = String(decoding: bytes[..<end], as: UTF8.self).split(separator: " ")
        guard words.count >= 2, words[0] == Self.name, let format = Int(words[1]) else {
            throw .mismatch("\(path) is not the progress of a restore; give another file with --progress")
        }
        guard format == Self.formatNewest else {
            throw .mismatch(
                "\(path) has format \(format), and this program knows format \(Self.formatNewest); go on with the program "
                    + "that wrote it, or \(remedy)")
        }
        let body = Array(bytes[(end + 1)...])
        guard words.count == 4, Int(words[2]) == body.count, UInt32(words[3]) == crc32c(body),
            let row = try? JSONDecoder().decode(Row.self, from: Data(body))
        else { throw .mismatch("\(path) is damaged; \(remedy)") }
        job = Job(
            seal: row.seal, clusterID: row.clusterId, prefix: Array(row.prefixBase64),
            onlyPrefix: Array(row.onlyPrefixBase64), existing: row.existing)
        archivePath = row.archive
        keysTotal = row.keysTotal
        bytesTotal = row.bytesTotal
        answered = PutWindow.Answered(keys: row.keys, bytes: row.bytes, kept: row.kept)
        if let shard = row.lastShard, let key = row.lastKeyBase64 {
            answered.last = ArchiveKeys.Position(shard: shard, key: Array(key))
        }
    }

    /// The progress that a file holds; `nil` if there is no such file.
    package static func load(_ path: String) throws(EngineError) -> IntoProgress? {
        guard fileExists(path) else { return nil }
        return try IntoProgress(encoded: try readFile(path, limit: bytesMax), path)
    }

    /// Replaces the file as a whole: whoever reads it later finds this progress or the one before.
    func save(_ path: String) throws(EngineError) {
        let fresh = "\(path).new"
        try writeFile(fresh, try encoded(), sync: true)
        guard rename(fresh, path) == 0 else { throw ioError("moving \(fresh) to \(path)") }
        try syncDirectory(Self.directory(of: path))
    }

    static func remove(_ path: String) {
        _ = unlink(path)
        try? syncDirectory(directory(of: path))
    }

    private static func directory(of path: String) -> String {
        URL(fileURLWithPath: path).standardizedFileURL.deletingLastPathComponent().path
    }
}
