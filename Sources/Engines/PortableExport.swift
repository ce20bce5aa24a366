#if canImport(Glibc)
    internal import Glibc
#else
    internal import Darwin
#endif

/// Takes the records of one family, in the order of their keys, into an engine that holds nothing of it yet.
///
/// The way in which an engine takes sorted records fastest: the portable chunk and the native forms both end here.
protocol FamilyLoader: AnyObject {
    func add(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) throws(EngineError)
    /// All records have come and are what the manifest says: makes them durable.
    func finish() throws(EngineError)
    /// Leaves the family empty.
    func abandon()
}

/// What a manifest says of a family, gathered from its records.
struct FamilyTally {
    private(set) var hash = ContentHash()
    private(set) var bytes: UInt64 = 0
    private(set) var firstKey: [UInt8]?
    /// The last key, in room that is made once.
    private var last = [UInt8](repeating: 0, count: EngineLimits.keyBytesMax)
    private var lastCount = 0

    /// Records come in the order of their keys; false if this one doesn't.
    mutating func add(key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer) -> Bool {
        guard key.count <= last.count else { return false }
        if firstKey == nil { firstKey = Array(key) }
        let isFirst = hash.count == 0
        let count = lastCount
        let isInOrder = last.withUnsafeMutableBytes { last in
            guard isFirst || compareKeys(UnsafeRawBufferPointer(rebasing: last[..<count]), key) < 0 else {
                return false
            }
            last.copyMemory(from: key)
            return true
        }
        guard isInOrder else { return false }
        lastCount = key.count
        hash.add(key: key, value: value)
        bytes += UInt64(key.count + value.count)
        return true
    }

    private var lastKey: [UInt8] { Array(last[..<lastCount]) }

    func manifest(_ format: String, _ files: [FamilyManifest.File]) -> FamilyManifest {
        FamilyManifest(
            format: format, files: files, keys: hash.count, bytes: bytes, firstKey: firstKey,
            lastKey: firstKey == nil ? nil : lastKey, contentHash: hash.description)
    }

    func verify(_ manifest: FamilyManifest, _ place: String) throws(EngineError) {
        guard hash.count == manifest.keys else {
            throw .corruption(place: "\(place): \(hash.count) keys, expected \(manifest.keys)")
        }
        guard hash.description == manifest.contentHash else {
            throw .corruption(place: "\(place): content hash \(hash), expected \(manifest.contentHash)")
        }
    }
}

/// Export and import of a family as portable chunks, one to a file: what every engine can do.
enum PortableExport {
    /// A file holds about this much; a record larger than that has a file to itself.
    static let chunkBytesMax = 1 << 20

    static func write(
        _ family: FamilyID, from snapshot: any ReadSnapshot, to directory: String
    ) throws(EngineError) -> FamilyManifest {
        var tally = FamilyTally()
        var files: [FamilyManifest.File] = []
        var builder = ChunkBuilder()
        func finishFile() throws(EngineError) {
            guard !builder.isEmpty else { return }
            let bytes = builder.finish()
            let name = "\(files.count).chunk"
            try writeFile("\(directory)/\(name)", bytes)
            files.append(.init(name: name, bytes: UInt64(bytes.count), crc32c: crc32c(bytes)))
        }
        let cursor = try snapshot.cursor(family, lower: [], upper: nil, reverse: false)
        while true {
            let isInOrder = try cursor.next { key, value in
                builder.add(key: key, value: value)
                return tally.add(key: key, value: value)
            }
            guard let isInOrder else { break }
            guard isInOrder else { throw .corruption(place: "\(family): keys out of order") }
            if builder.byteCount >= chunkBytesMax { try finishFile() }
        }
        try finishFile()
        return tally.manifest(ChunkFormat.portable, files)
    }

    /// Each file is verified before the first of its records is loaded, and the whole after the last; a family that
    /// turns out wrong is left empty.
    static func load(
        _ manifest: FamilyManifest, from directory: String, with loader: any FamilyLoader
    ) throws(EngineError) {
        var tally = FamilyTally()
        do throws(EngineError) {
            for file in manifest.files {
                let path = try ExportFile.path(file, in: directory)
                let bytes = try readFile(path, limit: EngineLimits.valueBytesMax + (4 << 20))
                guard bytes.count == Int(file.bytes), crc32c(bytes) == file.crc32c else {
                    throw .corruption(place: path)
                }
                try PortableChunk.decode(bytes) { (key, value) throws(EngineError) in
                    guard tally.add(key: key, value: value) else {
                        throw .corruption(place: "\(path): keys out of order")
                    }
                    try loader.add(key: key, value: value)
                }
            }
            try tally.verify(manifest, directory)
            try loader.finish()
        } catch {
            loader.abandon()
            throw error
        }
    }
}

extension StorageEngine {
    /// What every engine asks before it loads a family: a form that it knows, a manifest as it was written, and a family
    /// that exists and is empty.
    func checkLoadable(
        _ manifest: FamilyManifest, from directory: String, into family: FamilyID
    ) throws(EngineError) {
        guard capabilities.formats.contains(manifest.format) else {
            throw .unsupported("import format \(manifest.format)")
        }
        try manifest.verifySeal(directory)
        let view = try snapshot()
        defer { view.close() }
        let first: Bool? = try view.cursor(
            family, lower: [], upper: nil, reverse: false, reading: .keys
        ).next { _, _ in true }
        if first != nil { throw .unsupported("loading into a family that is not empty") }
    }
}

/// Files of an export.
package enum ExportFile {
    /// Where the file lies; a name that leads elsewhere is damage.
    package static func path(_ file: FamilyManifest.File, in directory: String) throws(EngineError) -> String {
        guard !file.name.isEmpty, !file.name.contains("/"), file.name != "..", file.name != "." else {
            throw .corruption(place: "manifest file name \(file.name)")
        }
        return "\(directory)/\(file.name)"
    }

    /// A finished file as the manifest lists it.
    static func describe(_ name: String, in directory: String) throws(EngineError) -> FamilyManifest.File {
        let (bytes, crc) = try checksum("\(directory)/\(name)")
        return FamilyManifest.File(name: name, bytes: bytes, crc32c: crc)
    }

    /// The files' paths, each of the size and checksum that the manifest names.
    package static func verified(_ manifest: FamilyManifest, in directory: String) throws(EngineError) -> [String] {
        var paths: [String] = []
        for file in manifest.files {
            let path = try path(file, in: directory)
            let found = try checksum(path)
            guard found == (file.bytes, file.crc32c) else { throw .corruption(place: path) }
            paths.append(path)
        }
        return paths
    }

    private static func checksum(_ path: String) throws(EngineError) -> (bytes: UInt64, crc32c: UInt32) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .io(place: "opening \(path)", errno: errno) }
        defer { close(descriptor) }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
        defer { buffer.deallocate() }
        var total: UInt64 = 0
        var crc: UInt32 = 0
        while true {
            let got = read(descriptor, buffer.baseAddress, buffer.count)
            if got < 0, errno == EINTR { continue }
            guard got >= 0 else { throw .io(place: "reading \(path)", errno: errno) }
            if got == 0 { return (total, crc) }
            crc = crc32c(UnsafeRawBufferPointer(rebasing: buffer[..<got]), continuing: crc)
            total += UInt64(got)
        }
    }
}
