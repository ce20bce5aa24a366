#if canImport(Glibc)
    internal import Glibc
#else
    internal import Darwin
#endif

/// Export and import of a family as portable chunks, one to a file: what every engine can do.
enum PortableExport {
    /// A file holds about this much; a record larger than that has a file to itself.
    static let chunkBytesMax = 1 << 20
    /// Records are loaded in batches of about this many bytes.
    static let loadBytesMax = 4 << 20

    static func write(
        _ family: FamilyID, from snapshot: any ReadSnapshot, format: String, to directory: String
    ) throws(EngineError) -> FamilyManifest {
        guard format == ChunkFormat.portable else { throw .unsupported("export format \(format)") }
        var manifest = FamilyManifest(
            format: format, files: [], keys: 0, bytes: 0, firstKey: nil, lastKey: nil, contentHash: "")
        var hash = ContentHash()
        var builder = ChunkBuilder()
        func finishFile() throws(EngineError) {
            guard !builder.isEmpty else { return }
            let bytes = builder.finish()
            let name = "\(manifest.files.count).chunk"
            try writeFile("\(directory)/\(name)", bytes)
            manifest.files.append(.init(name: name, bytes: UInt64(bytes.count), crc32c: crc32c(bytes)))
        }
        let cursor = try snapshot.cursor(family, lower: [], upper: nil, reverse: false)
        while true {
            let more: Void? = try cursor.next { key, value in
                hash.add(key: key, value: value)
                manifest.keys += 1
                manifest.bytes += UInt64(key.count + value.count)
                if manifest.firstKey == nil { manifest.firstKey = Array(key) }
                manifest.lastKey = Array(key)
                builder.add(key: key, value: value)
            }
            guard more != nil else { break }
            if builder.byteCount >= chunkBytesMax { try finishFile() }
        }
        try finishFile()
        manifest.contentHash = hash.description
        return manifest
    }

    /// Verifies every file before the first record is written, and the whole after the last; a family that
    /// turns out wrong is emptied again.
    static func load(
        _ manifest: FamilyManifest, from directory: String, into family: FamilyID, engine: any StorageEngine
    ) throws(EngineError) {
        guard manifest.format == ChunkFormat.portable else { throw .unsupported("import format \(manifest.format)") }
        let view = try engine.snapshot()
        let isEmpty = try view.cursor(family, lower: [], upper: nil, reverse: false).next { _, _ in true } == nil
        view.close()
        guard isEmpty else { throw .unsupported("loading into a family that is not empty") }
        for file in manifest.files { _ = try readChecked(file, in: directory) }
        var hash = ContentHash()
        var batch = WriteBatch()
        do throws(EngineError) {
            for file in manifest.files {
                let bytes = try readChecked(file, in: directory)
                try PortableChunk.decode(bytes) { key, value in
                    hash.add(key: key, value: value)
                    batch.put(family, key: key, value: value)
                }
                if batch.byteCount >= loadBytesMax {
                    try engine.write(batch, durability: .buffered)
                    batch.removeAll()
                }
            }
            guard hash.count == manifest.keys else {
                throw .corruption(place: "\(directory): \(hash.count) keys, expected \(manifest.keys)")
            }
            guard hash.description == manifest.contentHash else {
                throw .corruption(place: "\(directory): content hash \(hash), expected \(manifest.contentHash)")
            }
            try engine.write(batch, durability: .synced)
        } catch {
            var undo = WriteBatch()
            undo.deleteRange(family, from: [0], to: nil)
            try? engine.write(undo, durability: .buffered)
            throw error
        }
    }

    private static func readChecked(_ file: FamilyManifest.File, in directory: String) throws(EngineError) -> [UInt8] {
        guard !file.name.contains("/"), file.name != "..", file.name != "." else {
            throw .corruption(place: "manifest file name \(file.name)")
        }
        let path = "\(directory)/\(file.name)"
        let bytes = try readFile(path, limit: EngineLimits.valueBytesMax + (4 << 20))
        guard bytes.count == Int(file.bytes), crc32c(bytes) == file.crc32c else { throw .corruption(place: path) }
        return bytes
    }
}

/// Reads a whole file of at most `limit` bytes.
func readFile(_ path: String, limit: Int) throws(EngineError) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .io(place: "opening \(path)", errno: errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .io(place: "reading \(path)", errno: errno) }
    let size = Int(status.st_size)
    guard size <= limit else { throw .tooLarge(what: path, bytes: size, limit: limit) }
    var failure: EngineError?
    let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
        while count < size {
            let got = read(descriptor, UnsafeMutableRawPointer(buffer.baseAddress!) + count, size - count)
            if got < 0, errno == EINTR { continue }
            if got <= 0 {
                failure = got < 0 ? .io(place: "reading \(path)", errno: errno) : .corruption(place: path)
                return
            }
            count += got
        }
    }
    if let failure { throw failure }
    return bytes
}

/// Writes a new file, readable by the owner alone; not synced.
func writeFile(_ path: String, _ bytes: [UInt8], sync: Bool = false) throws(EngineError) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw ioError("creating \(path)") }
    defer { close(descriptor) }
    var offset = 0
    var failure: EngineError?
    bytes.withUnsafeBytes { buffer in
        while offset < buffer.count {
            let wrote = Glibc.write(descriptor, buffer.baseAddress! + offset, buffer.count - offset)
            if wrote < 0 {
                if errno == EINTR { continue }
                failure = ioError("writing \(path)")
                return
            }
            offset += wrote
        }
    }
    if let failure { throw failure }
    if sync, fsync(descriptor) != 0 { throw ioError("syncing \(path)") }
}

/// The error of the last system call.
func ioError(_ place: String) -> EngineError {
    errno == ENOSPC || errno == EDQUOT ? .noSpace(place: place) : .io(place: place, errno: errno)
}
