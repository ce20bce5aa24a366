/// The list of pieces into which a family was exported, and how to know that they are whole.
public struct FamilyManifest: Sendable, Equatable, Codable {
    /// One file of the export.
    public struct File: Sendable, Equatable, Codable {
        public var name: String
        public var bytes: UInt64
        /// CRC-32C of the file.
        public var crc32c: UInt32

        public init(name: String, bytes: UInt64, crc32c: UInt32) {
            self.name = name
            self.bytes = bytes
            self.crc32c = crc32c
        }
    }

    /// `ChunkFormat.portable` or an engine's native format.
    public var format: String
    public var files: [File]
    public var keys: UInt64
    /// Bytes of keys and values.
    public var bytes: UInt64
    public var firstKey: [UInt8]?
    public var lastKey: [UInt8]?
    /// `ContentHash.description` of all records.
    public var contentHash: String
    /// CRC-32C of all of the above (`sealed`): the manifest is what its exporter wrote.
    public private(set) var seal: UInt32 = 0

    public init(
        format: String, files: [File], keys: UInt64, bytes: UInt64, firstKey: [UInt8]?, lastKey: [UInt8]?,
        contentHash: String
    ) {
        self.format = format
        self.files = files
        self.keys = keys
        self.bytes = bytes
        self.firstKey = firstKey
        self.lastKey = lastKey
        self.contentHash = contentHash
        seal = checksum
    }

    /// Bytes of all files; more than there can be where a manifest makes no sense.
    public var fileBytes: UInt64 {
        files.reduce(0) { sum, file in
            let (total, overflow) = sum.addingReportingOverflow(file.bytes)
            return overflow ? .max : total
        }
    }

    /// Over the fields in the order in which they are declared, each ended by a line feed; keys in decimal, bytes
    /// divided by commas.
    private var checksum: UInt32 {
        func list(_ bytes: [UInt8]?) -> String { bytes.map { $0.map(String.init).joined(separator: ",") } ?? "-" }
        var text = "\(format)\n"
        for file in files { text += "\(file.name)\n\(file.bytes)\n\(file.crc32c)\n" }
        text += "\(keys)\n\(bytes)\n\(list(firstKey))\n\(list(lastKey))\n\(contentHash)\n"
        return Engines.crc32c(Array(text.utf8))
    }

    package func verifySeal(_ place: String) throws(EngineError) {
        guard seal == checksum else { throw .corruption(place: "\(place): the manifest fails its checksum") }
    }
}

/// Names of export formats (docs/formats.md, "Exported families").
public enum ChunkFormat {
    /// Sorted runs of at most 1 MiB with a block CRC-32C, readable by every engine. LMDB's own form of a family
    /// in motion is a sorted run too, so it has no other.
    public static let portable = "portable-1"
    /// RocksDB table files.
    public static let rocksdb = "rocksdb-sst-1"
    /// A SQLite database with one table.
    public static let sqlite = "sqlite-db-1"
}
