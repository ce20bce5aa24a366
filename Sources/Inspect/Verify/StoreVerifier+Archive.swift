internal import Engines
internal import Foundation
internal import RaftLog
internal import Sharding

extension StoreVerifier {
    /// Seal, manifest, headers, every file's length and checksum, every family's content hash, and what the contents
    /// say of each other.
    func verifyArchive(_ path: String) throws(EngineError) {
        progress.enter("the manifest of \(path)")
        let archive = try Archive(path)
        var expected: Set<String> = [Archive.manifestName, Archive.sealName]
        for group in archive.manifest.groups {
            expected.insert("\(group.path)/\(Archive.headerName)")
            for family in group.families {
                for file in family.manifest.files { expected.insert("\(group.path)/\(family.path)/\(file.name)") }
            }
            try verify(group, in: archive)
        }
        for name in Self.files(path) where !expected.contains(name) {
            warn("\(path)/\(name)", "the manifest doesn't list this file")
        }
    }

    private func verify(_ group: ArchiveManifest.Group, in archive: Archive) throws(EngineError) {
        progress.enter("the header of \(group.title)")
        var opened: InspectedGroup?
        try attempt("\(group.path)/\(Archive.headerName)") { () throws(EngineError) in
            let view = try archive.view(of: group)
            opened = InspectedGroup(
                role: group.role, layout: view.layout, view: view, hasLog: false, nodeId: group.nodeId,
                engine: group.engine)
            let applied = view.header.applied
            guard
                (applied.position.index, applied.position.term, applied.logTime)
                    == (group.appliedIndex, group.appliedTerm, group.logTimeMs)
            else { throw .corruption(place: "it has another position than the manifest") }
        }
        guard let opened else {
            // Nothing says what the families mean, but their files can be checked.
            for family in group.families { try verifyFiles(of: family, group, archive) }
            return
        }
        var numbers: [String: FamilyID] = [:]
        try attempt(group.title) { () throws(EngineError) in numbers = try opened.rows().families }
        let checks = try makeShardChecks(opened)
        for family in group.families {
            let place = "\(group.path)/\(family.path) (\(family.name))"
            guard let number = numbers[family.name] else {
                damage(place, "the header's table of families lacks it")
                continue
            }
            let check = checks[family.name]
            let tally = FamilyTallyCheck()
            let before = report.damage.count + report.furtherDamage
            let isRead = try attempt(place) { () throws(EngineError) in
                try opened.scan(number, family.name, progress) { key, value in
                    tally.add(key, value)
                    check?.add(key, value)
                    return true
                }
                if let problem = tally.difference(from: family.manifest) { throw .corruption(place: problem) }
            }
            if isRead {
                check?.finish { problem in damage(place, problem) }
            } else if before + 1 == report.damage.count + report.furtherDamage {
                // The scan ended at the first file that is wrong; others may be.
                try verifyFiles(of: family, group, archive, exceptFirst: true)
            }
        }
        try verifyTables(of: opened)
    }

    /// Each file by itself: is it there, and is it what the manifest lists?
    private func verifyFiles(
        of family: ArchiveManifest.Family, _ group: ArchiveManifest.Group, _ archive: Archive, exceptFirst: Bool = false
    ) throws(EngineError) {
        var skips = exceptFirst
        let directory = archive.directory(of: family, in: group)
        for file in family.manifest.files {
            let path = "\(directory)/\(file.name)"
            progress.enter(path)
            var problem: String?
            do throws(EngineError) {
                let bytes = try readFile(path, limit: Int(clamping: file.bytes))
                if UInt64(bytes.count) != file.bytes {
                    problem = "\(bytes.count) bytes, and the manifest lists \(file.bytes)"
                } else if crc32c(bytes) != file.crc32c {
                    problem = "it fails its checksum"
                }
            } catch {
                guard error.isDamage else { throw error }
                problem = error.problem
            }
            guard let problem else { continue }
            // The first one is what ended the scan, and has been told.
            if skips { skips = false } else { damage(path, problem) }
        }
    }

    /// Files below a directory, by their path in it.
    private static func files(_ path: String, below prefix: String = "") -> [String] {
        var found: [String] = []
        for name in directoryEntries("\(path)/\(prefix)") ?? [] {
            var status = stat()
            guard lstat("\(path)/\(prefix)\(name)", &status) == 0 else { continue }
            if status.st_mode & S_IFMT == S_IFDIR {
                found += files(path, below: "\(prefix)\(name)/")
            } else {
                found.append(prefix + name)
            }
        }
        return found
    }
}

/// What a family's manifest says of it, from a scan.
final class FamilyTallyCheck {
    private var hash = ContentHash()
    private var bytes: UInt64 = 0
    private var firstKey: [UInt8]?
    private let last = KeyBuffer()

    func add(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        hash.add(key: key, value: value)
        bytes += UInt64(key.count + value.count)
        if firstKey == nil { firstKey = Array(key) }
        _ = last.advance(to: key)
    }

    func difference(from manifest: FamilyManifest) -> String? {
        if hash.count != manifest.keys { return "\(hash.count) records, and the manifest lists \(manifest.keys)" }
        if hash.description != manifest.contentHash {
            return "content hash \(hash), and the manifest lists \(manifest.contentHash)"
        }
        guard bytes == manifest.bytes, firstKey == manifest.firstKey, last.bytes == manifest.lastKey else {
            return "other bytes, first or last key than the manifest lists"
        }
        return nil
    }
}
