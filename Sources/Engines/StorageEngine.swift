/// One open storage directory: ordered families of byte keys, written atomically across families.
///
/// Contract of concurrency. One thread writes: `write`, `createFamily`, `dropFamily` and `ingest` never
/// run at the same time as each other (engines hold a lock, so that a mistake is slow rather than fatal).
/// `snapshot`, `export`, `checkpoint` and the questions may come from any thread at any time. A snapshot
/// belongs to one thread at a time; it may move between threads.
///
/// What an engine shows once it is open is durable: a process that was killed leaves writes in the system's cache, and
/// whoever finds them there goes on as if they were on the disk.
///
/// Keys compare as unsigned bytes. An empty value is a value; an absent key is `nil`. An empty key is
/// refused. A key has at most `EngineLimits.keyBytesMax` bytes.
///
/// A failed write or sync poisons the engine: every later call throws `EngineError.poisoned`. `noSpace`
/// and `busy` leave it as it was, with nothing of the batch written.
public protocol StorageEngine: AnyObject, Sendable {
    var kind: EngineKind { get }
    var capabilities: EngineCapabilities { get }

    /// The families that exist, in order.
    func families() throws(EngineError) -> [FamilyID]
    /// Creates an empty family; does nothing if it exists. Durable when it returns.
    func createFamily(_ family: FamilyID) throws(EngineError)
    /// Removes a family and all that it holds; does nothing if it is missing. Durable when it returns, and takes
    /// as long for a large family as for a small one. Snapshots that are open keep reading it.
    func dropFamily(_ family: FamilyID) throws(EngineError)
    /// Gives back a slice of the space of dropped families, small enough that a writer who waits for it hardly
    /// notices. True while there is more to give back; false where the engine does it by itself. Call it from a
    /// thread that may block, until it answers false.
    func reclaim() throws(EngineError) -> Bool

    /// Applies the batch, all or nothing. Throws `familyMissing` or `tooLarge` before anything is written.
    func write(_ batch: WriteBatch, durability: Durability) throws(EngineError)

    /// A consistent view over all families, of every write that has returned.
    func snapshot() throws(EngineError) -> any ReadSnapshot

    /// Writes the family, as `snapshot` sees it, into files in `directory` (which exists and is empty).
    /// `format` is one of `capabilities.formats`.
    func export(
        _ family: FamilyID, from snapshot: any ReadSnapshot, format: String, to directory: String
    ) throws(EngineError) -> FamilyManifest
    /// Loads exported files into a family that exists and is empty, all or nothing; verifies counts,
    /// checksums and content hash. May use up the files in `directory`. Durable when it returns. Other writers get
    /// their turn meanwhile; nobody may write to this family.
    func ingest(_ manifest: FamilyManifest, from directory: String, into family: FamilyID) throws(EngineError)

    /// Copies the whole engine, in its own form, into `directory` (which doesn't exist yet): a state that contains
    /// every write that had returned. Durable when it returns, and marked by a file `COPY`.
    func checkpoint(to directory: String) throws(EngineError)

    func statistics(of family: FamilyID) throws(EngineError) -> FamilyStatistics
    func statistics() throws(EngineError) -> EngineStatistics

    /// Makes every buffered batch durable.
    func sync() throws(EngineError)
    /// Gives space back where the engine can do so at once (tests and tools; never needed for correctness).
    func compact() throws(EngineError)
    /// Makes everything durable and releases the directory. Further calls throw `closed`.
    func close() throws(EngineError)
}

/// Reads from one consistent state.
public protocol ReadView: AnyObject {
    /// The value of `key`, or `nil`. Throws `familyMissing` for a family that the view doesn't have.
    func get(_ family: FamilyID, key: [UInt8]) throws(EngineError) -> [UInt8]?

    /// Values in the order of `keys`.
    func multiGet(_ family: FamilyID, keys: [[UInt8]]) throws(EngineError) -> [[UInt8]?]

    /// A cursor over `lower..<upper` (to the end of the family without `upper`), from the low end or, when
    /// `reverse`, from the high end. Bounds that are empty or inverted give an empty cursor.
    func cursor(
        _ family: FamilyID, lower: [UInt8], upper: [UInt8]?, reverse: Bool, reading: CursorContents
    ) throws(EngineError) -> any Cursor
}

/// A read view that holds resources of its engine until it is closed (also by deinit).
public protocol ReadSnapshot: ReadView, Sendable {
    func close()
}

/// What a cursor reads of each pair.
public enum CursorContents: Sendable {
    case pairs
    /// Keys alone. Values are shown empty, and are neither copied nor verified; what an engine can leave on the disk of
    /// them stays there (docs/engines.md).
    case keys
}

extension UnsafeRawBufferPointer {
    /// What a cursor over keys shows in the place of a value.
    package static var noValue: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: nil, count: 0) }
}

/// A position in a sorted run of keys. Not sendable; use it before its snapshot closes.
public protocol Cursor: AnyObject {
    /// Bytes of values that the engine has read of its files for what was shown so far: also those that a cursor over keys
    /// has to read with their keys.
    var valueBytesRead: Int { get }

    /// Shows the next pair to `body` and returns its answer; `nil` at the end. The buffers live as long as the call.
    func next<Result>(
        _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Result
    ) throws(EngineError) -> Result?
}

extension ReadView {
    public func multiGet(_ family: FamilyID, keys: [[UInt8]]) throws(EngineError) -> [[UInt8]?] {
        var values: [[UInt8]?] = []
        values.reserveCapacity(keys.count)
        for key in keys { values.append(try get(family, key: key)) }
        return values
    }

    /// A cursor over pairs.
    public func cursor(
        _ family: FamilyID, lower: [UInt8], upper: [UInt8]?, reverse: Bool
    ) throws(EngineError) -> any Cursor {
        try cursor(family, lower: lower, upper: upper, reverse: reverse, reading: .pairs)
    }

    /// Visits `lower..<upper` in order until `body` returns false.
    public func scan(
        _ family: FamilyID, lower: [UInt8] = [], upper: [UInt8]? = nil, reverse: Bool = false,
        reading contents: CursorContents = .pairs,
        _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Bool
    ) throws(EngineError) {
        let cursor = try cursor(family, lower: lower, upper: upper, reverse: reverse, reading: contents)
        while let goOn = try cursor.next(body) {
            if !goOn { return }
        }
    }
}
