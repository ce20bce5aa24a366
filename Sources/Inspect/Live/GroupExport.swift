internal import Bytes
public import Engines
public import Keyspace
internal import RaftLog
internal import Sharding

/// A group's state, exported into files by a node that serves it.
public protocol GroupExport: Sendable {
    /// "controller" or "group".
    var role: String { get }
    var gid: GroupID { get }
    var nodeId: UInt64 { get }
    var engine: EngineKind { get }
    /// "leader": everything that was acknowledged before is in. "follower": what that node had applied.
    var servedAs: String { get }
    /// A snapshot header (docs/formats.md).
    var header: [UInt8] { get }
    /// One for each family of the header, in portable chunks.
    var manifests: [FamilyManifest] { get }

    /// At least one byte of a file from `offset` on, and at most `length`. Whatever is thrown is taken for a broken
    /// connection, except an `ExportLost`, an `EngineError` and a cancellation.
    func read(family: Int, file: Int, offset: UInt64, length: UInt64) async throws -> [UInt8]
}

/// Why asking the node again makes no sense: the export is gone, or refused.
public struct ExportLost: Error, Sendable, CustomStringConvertible {
    public var description: String
    public init(_ description: String) { self.description = description }
}

/// How far an archive of live groups is.
public struct PullProgress: Sendable, Equatable {
    /// "group 100", "the controller".
    public var stage = ""
    /// Of this group: how much is to come, and how much has.
    public var bytesTotal: UInt64 = 0
    public var bytes: UInt64 = 0
    /// Of all groups so far: what came over the line, and what an earlier backup had.
    public var bytesPulled: UInt64 = 0
    public var bytesReused: UInt64 = 0
    public var familiesReused = 0
    public var families = 0
    /// How often a connection broke and the file was taken up again.
    public var resumed = 0

    public init() {}
}

/// Brings exported groups into an archive: asks for their files at a rate, verifies each, and takes up again where a
/// connection broke.
public struct ArchivePull {
    /// How often one file is taken up again without a byte of progress between.
    package static let attemptsMax = 20
    static let pause: Duration = .milliseconds(250)
    /// Without a byte of progress for so long, the node has forgotten the export.
    static let silenceMax: Duration = .seconds(60)
    /// A chunk ends with the record that fills it.
    static let fileBytesMax = UInt64(EngineLimits.valueBytesMax + (4 << 20))

    /// What the pull needs of the world.
    public struct Surroundings: Sendable {
        /// Since any moment that stays the same.
        public var now: @Sendable () -> Duration
        public var sleep: @Sendable (Duration) async throws -> Void
        /// Bytes that the archive's disk has left; `nil` if nobody knows.
        public var freeBytes: @Sendable (_ path: String) -> UInt64?

        public init(
            now: @escaping @Sendable () -> Duration, sleep: @escaping @Sendable (Duration) async throws -> Void,
            freeBytes: @escaping @Sendable (String) -> UInt64?
        ) {
            self.now = now
            self.sleep = sleep
            self.freeBytes = freeBytes
        }

        public static var real: Surroundings {
            let start = ContinuousClock.now
            return Surroundings(
                now: { ContinuousClock.now - start }, sleep: { try await Task.sleep(for: $0) },
                freeBytes: { diskFreeBytes($0) })
        }
    }

    private let writer: ArchiveWriter
    private let earlier: EarlierArchive?
    private let surroundings: Surroundings
    private let report: (PullProgress) -> Void
    private var rate: TransferRate
    public private(set) var progress = PullProgress()
    /// The controller's shard map, once the controller has been added.
    public private(set) var map: ShardMap?

    public init(
        into writer: ArchiveWriter, rate: TransferRate = TransferRate(), since earlier: EarlierArchive? = nil,
        surroundings: Surroundings = .real, report: @escaping (PullProgress) -> Void = { _ in }
    ) {
        self.writer = writer
        self.earlier = earlier
        self.surroundings = surroundings
        self.rate = rate
        self.report = report
    }

    /// Adds one group. If this throws nothing is left of the group, and it may be added again, from another node.
    public mutating func add(_ export: some GroupExport) async throws {
        guard !writer.manifest.groups.contains(where: { $0.role == export.role && $0.gid == export.gid }) else {
            throw EngineError.mismatch("\(export.role) \(export.gid) is in \(writer.destination) already")
        }
        do { try await bring(export) } catch {
            writer.discardGroup(role: export.role, gid: export.gid)
            throw error
        }
    }

    private mutating func bring(_ export: some GroupExport) async throws {
        let title = export.role == "controller" ? "the controller" : "group \(export.gid)"
        let header = try SnapshotHeader(of: export, title)
        var needed: UInt64 = 0
        var known: [EarlierArchive.Match?] = []
        for manifest in export.manifests {
            let match = earlier?.match(manifest, role: export.role, gid: export.gid)
            known.append(match)
            if match == nil { needed += manifest.fileBytes }
        }
        if let free = surroundings.freeBytes(writer.path), needed > free {
            throw EngineError.noSpace(
                place: "\(title) has \(needed) bytes, and \(writer.destination) has room for \(free)")
        }
        progress.stage = title
        progress.bytes = 0
        progress.bytesTotal = needed
        report(progress)
        var manifests: [FamilyManifest] = []
        for (number, manifest) in export.manifests.enumerated() {
            let directory = try writer.makeFamily(role: export.role, gid: export.gid, number: number)
            progress.families += 1
            if let match = known[number], try match.link(into: directory) {
                progress.familiesReused += 1
                progress.bytesReused += match.manifest.fileBytes
                manifests.append(match.manifest)
                report(progress)
                continue
            }
            for file in manifest.files.indices {
                try await pull(export, family: number, file: file, to: directory)
            }
            manifests.append(manifest)
        }
        if export.role == "controller", let map = try ControllerMachine.map(in: header) {
            self.map = map
            writer.set(configNumber: map.number)
        }
        try writer.add(
            role: export.role, gid: export.gid, nodeId: export.nodeId, engine: export.engine, header: header,
            families: manifests, servedAs: export.servedAs)
    }

    private mutating func pull(
        _ export: some GroupExport, family: Int, file number: Int, to directory: String
    ) async throws {
        let file = export.manifests[family].files[number]
        let path = try ExportFile.path(file, in: directory)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(file.bytes))
        var attempts = 0
        var heardAt = surroundings.now()
        while UInt64(bytes.count) < file.bytes {
            let length = min(rate.slice, file.bytes - UInt64(bytes.count))
            let wait = rate.take(length, at: surroundings.now())
            if wait > .zero { try await surroundings.sleep(wait) }
            do {
                let piece = try await export.read(
                    family: family, file: number, offset: UInt64(bytes.count), length: length)
                guard piece.count <= Int(length) else {
                    throw EngineError.corruption(place: "\(path): more bytes came than were asked for")
                }
                guard !piece.isEmpty else { throw NothingCame() }
                bytes += piece
                attempts = 0
                heardAt = surroundings.now()
                // What came before the break isn't asked for again.
                if piece.count < Int(length) { progress.resumed += 1 }
                progress.bytes += UInt64(piece.count)
                progress.bytesPulled += UInt64(piece.count)
                report(progress)
            } catch let error as EngineError {
                throw error
            } catch let error as ExportLost {
                throw error
            } catch let error as CancellationError {
                throw error
            } catch {
                attempts += 1
                guard attempts < Self.attemptsMax, surroundings.now() - heardAt < Self.silenceMax else { throw error }
                progress.resumed += 1
                try await surroundings.sleep(Self.pause)
            }
        }
        // Nothing is written that isn't what the sender announced.
        guard crc32c(bytes) == file.crc32c else {
            throw EngineError.corruption(place: "\(path): what came is not what was announced")
        }
        try writeFile(path, bytes)
    }

    private struct NothingCame: Error, CustomStringConvertible {
        var description: String { "the node sent nothing" }
    }
}

extension SnapshotHeader {
    /// The header of an export, which must fit its manifests. A node may send anything.
    fileprivate init(of export: some GroupExport, _ title: String) throws(EngineError) {
        do throws(CodingError) { try self.init(encoded: export.header) } catch {
            throw .corruption(place: "what node \(export.nodeId) sent of \(title): \(error.place)")
        }
        guard families.count == export.manifests.count else {
            throw .corruption(
                place: "node \(export.nodeId) sent \(export.manifests.count) families of \(title), and named "
                    + "\(families.count)")
        }
        for manifest in export.manifests {
            try manifest.verifySeal("what node \(export.nodeId) sent of \(title)")
            guard manifest.format == ChunkFormat.portable else {
                throw .mismatch(
                    "node \(export.nodeId) sent a family in the form \(manifest.format); use its own program")
            }
            if let file = manifest.files.first(where: { $0.bytes > ArchivePull.fileBytesMax }) {
                throw .tooLarge(
                    what: "\(file.name) of \(title)", bytes: Int(clamping: file.bytes),
                    limit: Int(clamping: ArchivePull.fileBytesMax))
            }
        }
    }
}
