/// An exported family read where it lies, without an engine: a sorted run over its portable chunks.
///
/// A chunk is verified (length, checksum, order of keys) before anything in it is shown, and one is held at a time.
public final class PortableFamily {
    public let manifest: FamilyManifest
    private let directory: String
    private var held: (file: Int, chunk: Chunk)?
    /// First keys of chunks that were read.
    private var firstKeys: [Int: [UInt8]] = [:]

    /// - Parameter directory: where the manifest's files lie.
    public init(_ manifest: FamilyManifest, in directory: String) throws(EngineError) {
        try manifest.verifySeal(directory)
        guard manifest.format == ChunkFormat.portable else {
            throw .unsupported("\(directory): reading the form \(manifest.format) without its engine")
        }
        self.manifest = manifest
        self.directory = directory
    }

    /// The records of one chunk, found by number.
    final class Chunk {
        let bytes: [UInt8]
        private var records: [(offset: Int, keyCount: Int, valueCount: Int)] = []

        init(_ bytes: [UInt8], path: String) throws(EngineError) {
            self.bytes = bytes
            var records: [(offset: Int, keyCount: Int, valueCount: Int)] = []
            var failure: EngineError?
            bytes.withUnsafeBytes { all in
                var previous: UnsafeRawBufferPointer?
                do throws(EngineError) {
                    try PortableChunk.decode(all, .corruption(place: path)) { (key, value) throws(EngineError) in
                        if let previous, compareKeys(previous, key) >= 0 {
                            throw .corruption(place: "\(path): keys out of order")
                        }
                        previous = key
                        let offset = UInt(bitPattern: key.baseAddress) - UInt(bitPattern: all.baseAddress)
                        records.append((Int(offset), key.count, value.count))
                    }
                } catch { failure = error }
            }
            if let failure { throw failure }
            guard !records.isEmpty else { throw .corruption(place: "\(path) is empty") }
            self.records = records
        }

        var count: Int { records.count }

        func show<Result>(
            _ number: Int, _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Result
        ) -> Result {
            let record = records[number]
            return bytes.withUnsafeBytes { all in
                let valueStart = record.offset + record.keyCount
                return body(
                    UnsafeRawBufferPointer(rebasing: all[record.offset..<valueStart]),
                    UnsafeRawBufferPointer(rebasing: all[valueStart..<valueStart + record.valueCount]))
            }
        }

        /// The number of the first record whose key is not below `key`.
        func lowerBound(_ key: [UInt8]) -> Int {
            var low = 0
            var high = count
            while low < high {
                let middle = (low + high) / 2
                let isBelow = show(middle) { found, _ in compareKeys(key, found) > 0 }
                if isBelow { low = middle + 1 } else { high = middle }
            }
            return low
        }
    }

    func chunk(_ file: Int) throws(EngineError) -> Chunk {
        if let held, held.file == file { return held.chunk }
        held = nil
        let listed = manifest.files[file]
        let path = try ExportFile.path(listed, in: directory)
        let bytes = try readFile(path, limit: EngineLimits.valueBytesMax + (4 << 20))
        guard bytes.count == Int(clamping: listed.bytes), crc32c(bytes) == listed.crc32c else {
            throw .corruption(place: "\(path) is not the file that the manifest lists")
        }
        let chunk = try Chunk(bytes, path: path)
        held = (file, chunk)
        firstKeys[file] = chunk.show(0) { key, _ in Array(key) }
        return chunk
    }

    private func firstKey(_ file: Int) throws(EngineError) -> [UInt8] {
        if let known = firstKeys[file] { return known }
        let chunk = try chunk(file)
        return chunk.show(0) { key, _ in Array(key) }
    }

    /// Where the first record that is not below `key` lies: the file that it must be in, or follows.
    func position(_ key: [UInt8]) throws(EngineError) -> (file: Int, record: Int) {
        // The last file whose first key is not above `key`.
        var low = 0
        var high = manifest.files.count
        while low < high {
            let middle = (low + high) / 2
            if compareKeys(try firstKey(middle), key) <= 0 { low = middle + 1 } else { high = middle }
        }
        guard low > 0 else { return (0, 0) }
        let chunk = try chunk(low - 1)
        let record = chunk.lowerBound(key)
        return record < chunk.count ? (low - 1, record) : (low, 0)
    }

    public func get(_ key: [UInt8]) throws(EngineError) -> [UInt8]? {
        let place = try position(key)
        guard place.file < manifest.files.count else { return nil }
        return try chunk(place.file).show(place.record) { found, value in
            found.elementsEqual(key) ? Array(value) : nil
        }
    }

    public func cursor(
        lower: [UInt8], upper: [UInt8]?, reverse: Bool, reading contents: CursorContents = .pairs
    ) throws(EngineError) -> any Cursor {
        try PortableCursor(self, lower: lower, upper: upper, reverse: reverse, contents)
    }
}

/// Runs over the chunks from one end to the other.
private final class PortableCursor: Cursor {
    private let family: PortableFamily
    private let lower: [UInt8]
    private let upper: [UInt8]?
    private let reverse: Bool
    private let contents: CursorContents
    private(set) var valueBytesRead = 0
    /// Forward: the record to be shown. Backward: the one behind it.
    private var file: Int
    private var record: Int
    /// The last key of the chunk that was left.
    private var last: (file: Int, key: [UInt8])?

    init(
        _ family: PortableFamily, lower: [UInt8], upper: [UInt8]?, reverse: Bool, _ contents: CursorContents
    ) throws(EngineError) {
        self.contents = contents
        self.family = family
        self.lower = lower
        self.upper = upper
        self.reverse = reverse
        if let upper, reverse {
            (file, record) = try family.position(upper)
        } else {
            (file, record) = reverse ? (family.manifest.files.count, 0) : try family.position(lower)
        }
    }

    func next<Result>(
        _ body: (UnsafeRawBufferPointer, UnsafeRawBufferPointer) -> Result
    ) throws(EngineError) -> Result? {
        if reverse {
            if record == 0 {
                guard file > 0 else { return nil }
                file -= 1
                record = try family.chunk(file).count
            }
            record -= 1
        }
        guard file < family.manifest.files.count else { return nil }
        let chunk = try family.chunk(file)
        let isInside = chunk.show(record) { key, _ in
            reverse ? compareKeys(lower, key) <= 0 : upper.map { compareKeys($0, key) > 0 } ?? true
        }
        guard isInside else { return nil }
        // Within a chunk the order was verified; from one to the next it is here.
        if let last, last.file != file {
            let order = chunk.show(record) { key, _ in compareKeys(last.key, key) }
            guard reverse ? order > 0 : order < 0 else {
                throw .corruption(place: "\(family.manifest.files[file].name): keys out of order")
            }
        }
        let result = chunk.show(record) { key, value in
            valueBytesRead += value.count
            return body(key, contents == .pairs ? value : .noValue)
        }
        if record == (reverse ? 0 : chunk.count - 1) { last = (file, chunk.show(record) { key, _ in Array(key) }) }
        if !reverse {
            record += 1
            if record == chunk.count { (file, record) = (file + 1, 0) }
        }
        return result
    }
}
