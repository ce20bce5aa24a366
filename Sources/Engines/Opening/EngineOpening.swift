extension EngineKind {
    /// Opens an engine of this kind in an existing directory.
    public func open(_ directory: String, readOnly: Bool = false) throws(EngineError) -> any StorageEngine {
        switch self {
        case .memory: return MemoryEngine()
        case .rocksdb:
            #if RocksDB
                return try RocksDBEngine(path: directory, readOnly: readOnly)
            #else
                throw .unsupported("this program was built without RocksDB")
            #endif
        case .lmdb:
            #if LMDB
                return try LMDBEngine(path: directory, readOnly: readOnly)
            #else
                throw .unsupported("this program was built without LMDB")
            #endif
        case .sqlite:
            #if SQLite
                return try SQLiteEngine(path: directory, readOnly: readOnly)
            #else
                throw .unsupported("this program was built without SQLite")
            #endif
        }
    }

    /// The engine whose files lie in a directory, told by the one that each of them always has; `nil` if none does.
    public static func found(in directory: String) -> EngineKind? {
        if fileExists("\(directory)/CURRENT") { return .rocksdb }
        if fileExists("\(directory)/data.mdb") { return .lmdb }
        if fileExists("\(directory)/engine.db") { return .sqlite }
        return nil
    }
}
