internal import Engines

/// One engine in one directory, behind our protocol or called in C. Both get the same work in the same order.
protocol Subject: AnyObject, Sendable {
    func createFamily(_ family: UInt64) throws
    func dropFamily(_ family: UInt64) throws
    /// Gives back a slice of the space of dropped families; true while there is more.
    func reclaim() throws -> Bool

    /// For one thread.
    func writer() -> any SubjectWriter
    /// Buffered writes come from one thread only: the C library has no such thing and keeps a transaction open.
    var buffersOnOneThread: Bool { get }
    func sync() throws
    func compact() throws

    func view() throws -> any SubjectView
    /// Writes a family into files in `directory`, which exists and is empty.
    func export(_ family: UInt64, to directory: String) throws -> Exported
    func ingest(_ exported: Exported, from directory: String, into family: UInt64) throws
    func checkpoint(to directory: String) throws
    func close() throws
}

extension Subject {
    var buffersOnOneThread: Bool { false }
    func reclaim() throws -> Bool { false }
}

protocol SubjectWriter: AnyObject {
    func write(_ batch: PutBatch, synced: Bool) throws
}

/// A snapshot.
protocol SubjectView: AnyObject {
    /// The length of the value, of which a copy was made, as any caller must who keeps it; `nil` if it is missing.
    func get(_ family: UInt64, _ key: [UInt8]) throws -> Int?
    /// How many were found; of each a copy was made.
    func multiGet(_ family: UInt64, _ keys: [[UInt8]]) throws -> Int
    /// Visits `count` pairs from `key` on and answers the bytes that it saw.
    func scan(_ family: UInt64, from key: [UInt8], count: Int) throws -> Int
    func close()
}

struct Exported {
    var keys: Int
    /// What our engines need to load the files again.
    var manifest: FamilyManifest?
}

extension SubjectName {
    /// Opens the subject in a directory that exists.
    func open(_ directory: String) throws -> any Subject {
        guard isRaw else { return WrappedSubject(try engine.open(directory)) }
        switch engine {
        case .rocksdb:
            #if RocksDB
                return try RawRocksDB(directory)
            #else
                break
            #endif
        case .lmdb:
            #if LMDB
                return try RawLMDB(directory)
            #else
                break
            #endif
        case .sqlite:
            #if SQLite
                return try RawSQLite(directory)
            #else
                break
            #endif
        case .memory: break
        }
        throw BenchError("this program has no C library for \(engine)")
    }
}
