internal import CommandSupport
public import Engines
internal import Foundation
public import Inspect
public import Keyspace
internal import Sharding

/// `flotilla snapshot save --endpoint` and `flotilla backup create --controllers`: archives of nodes that serve.
///
/// What is written is an archive only once `finish` has sealed it. Anything before that leaves a directory that nothing
/// takes for one, and `discard` removes it.
public final class SaveLive {
    private let out: String
    private let bar = ProgressBar()
    private let writer: ArchiveWriter
    private var pull: ArchivePull

    /// - Parameters:
    ///   - out: must not exist, or be empty.
    ///   - madeBy: the program and its version.
    public init(
        _ kind: ArchiveManifest.Kind, out: String, clusterId: String, rate: TransferRate,
        since earlier: EarlierArchive? = nil, madeBy: String
    ) throws(EngineError) {
        let now = UInt64(max(0, Date().timeIntervalSince1970 * 1000))
        self.out = out
        writer = try ArchiveWriter(
            out, ArchiveManifest(kind: kind, clusterId: clusterId, createdAtMs: now, madeBy: madeBy))
        let bar = bar
        pull = ArchivePull(into: writer, rate: rate, since: earlier) { progress in
            bar.total = progress.bytesTotal
            let reused = progress.bytesReused > 0 ? ", \(humanBytes(progress.bytesReused)) reused" : ""
            let resumed = progress.resumed > 0 ? ", resumed \(Self.times(progress.resumed))" : ""
            bar.show(
                "\(humanBytes(progress.bytesPulled))\(reused)\(resumed)  \(progress.stage)", done: progress.bytes)
        }
    }

    private static func times(_ count: Int) -> String { count == 1 ? "once" : "\(count) times" }

    /// Adds a group.
    public func add(_ export: some GroupExport) async throws {
        defer { bar.clear() }
        try await pull.add(export)
    }

    /// The controller's shard map, once the controller has been added.
    public var map: ShardMap? { pull.map }

    /// Refuses what no cluster can be made of.
    public func checkBackup() throws(EngineError) { try writer.checkBackup() }

    /// Makes it durable and seals it.
    public func finish() throws(EngineError) {
        do throws(EngineError) { try writer.seal() } catch {
            writer.discard()
            throw error
        }
    }

    /// Says what was written. Apart from sealing: an archive doesn't go because nobody can be told of it.
    public func report(asJSON: Bool) throws {
        try ArchiveSummary(path: out, writer.manifest, pull.progress).write(asJSON: asJSON)
        let progress = pull.progress
        if progress.familiesReused > 0 {
            note(
                "reused \(progress.familiesReused) of \(progress.families) families, \(humanBytes(progress.bytesReused)); "
                    + "\(humanBytes(progress.bytesPulled)) came over the line")
        }
        if progress.resumed > 0 { note("the connection broke \(Self.times(progress.resumed)) and was taken up again") }
    }

    /// Removes what was written.
    public func discard() {
        bar.clear()
        writer.discard()
    }
}
