internal import Bytes
public import Engines
internal import Foundation
public import RaftLog

/// A snapshot of one group or a backup of a cluster, opened for reading (docs/formats.md, "Archive").
///
///     MANIFEST.json       what it holds, with a checksum of every file
///     SEAL                written last: checksum of the manifest
///     controller/header   a group's snapshot header
///     controller/0/…      its families, in portable chunks
///     group-100/…
public struct Archive: Sendable {
    static let manifestName = "MANIFEST.json"
    static let sealName = "SEAL"
    static let headerName = "header"

    public let path: String
    public let manifest: ArchiveManifest
    /// The line that was put on the manifest: no other archive has it.
    public let seal: String

    /// Is this directory an archive, whole or begun?
    public static func isArchive(_ path: String) -> Bool { fileExists("\(path)/\(manifestName)") }

    /// Opens a sealed archive. The manifest is verified; files are when they are read.
    public init(_ path: String) throws(EngineError) {
        self.path = path
        let place = "\(path)/\(Self.manifestName)"
        guard fileExists(place) else {
            throw .mismatch("\(path) is not a snapshot or backup: it holds no \(Self.manifestName)")
        }
        let bytes = try readFile(place, limit: 64 << 20)
        guard fileExists("\(path)/\(Self.sealName)") else {
            throw .corruption(place: "\(path) has no \(Self.sealName): it was never finished; make it again")
        }
        let seal = ArchiveSeal(of: bytes)
        guard try readFile("\(path)/\(Self.sealName)", limit: 4096) == seal.bytes else {
            throw .corruption(place: "\(place) is not what \(Self.sealName) was put on")
        }
        struct Format: Decodable { var format: Int }
        guard let format = try? JSONDecoder().decode(Format.self, from: Data(bytes)) else {
            throw .corruption(place: "\(place): not a manifest in JSON")
        }
        guard format.format == ArchiveManifest.formatNewest else {
            throw .mismatch(
                "\(path) has format \(format.format), and this program knows format \(ArchiveManifest.formatNewest); "
                    + "use the program that made it")
        }
        guard let manifest = try? JSONDecoder().decode(ArchiveManifest.self, from: Data(bytes)) else {
            throw .corruption(place: "\(place): not a manifest in JSON")
        }
        try Self.check(manifest, place)
        self.manifest = manifest
        self.seal = seal.line.trimmingCharacters(in: .newlines)
    }

    /// What a writer has made so far, before its seal.
    init(unsealed path: String, _ manifest: ArchiveManifest) throws(EngineError) {
        try Self.check(manifest, path)
        self.path = path
        self.manifest = manifest
        seal = ""
    }

    private static func check(_ manifest: ArchiveManifest, _ place: String) throws(EngineError) {
        for group in manifest.groups {
            guard group.header.name == Self.headerName,
                group.families.allSatisfy({ UInt($0.path) != nil && $0.manifest.format == ChunkFormat.portable })
            else { throw .corruption(place: "\(place): \(group.title) names what no archive holds") }
        }
    }

    public func directory(of family: ArchiveManifest.Family, in group: ArchiveManifest.Group) -> String {
        "\(path)/\(group.path)/\(family.path)"
    }

    /// The group's position, membership and state rows.
    public func header(of group: ArchiveManifest.Group) throws(EngineError) -> SnapshotHeader {
        let place = "\(path)/\(group.path)/\(Self.headerName)"
        let bytes = try readFile(place, limit: 256 << 20)
        guard UInt64(bytes.count) == group.header.bytes, crc32c(bytes) == group.header.crc32c else {
            throw .corruption(place: "\(place) is not the file that the manifest lists")
        }
        let header: SnapshotHeader
        do throws(CodingError) { header = try SnapshotHeader(encoded: bytes) } catch {
            throw .corruption(place: "\(place): \(error.place)")
        }
        guard header.families == group.families.map(\.name) else {
            throw .corruption(place: "\(place) names other families than the manifest")
        }
        return header
    }

    /// The group as an engine would show it.
    public func view(of group: ArchiveManifest.Group) throws(EngineError) -> ArchiveView {
        try ArchiveView(self, group)
    }
}
