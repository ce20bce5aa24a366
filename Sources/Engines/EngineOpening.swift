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
}
