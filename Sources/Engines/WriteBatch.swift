/// Puts, deletes and range deletes over any families, applied in order and atomically.
///
/// Keys and values lie one after another in one buffer, so filling a batch allocates nothing per operation.
public struct WriteBatch: Sendable {
    @usableFromInline
    enum Kind: UInt8, Sendable { case put, delete, deleteRange, deleteToEnd }

    @usableFromInline
    struct Operation: Sendable {
        @usableFromInline var kind: Kind
        @usableFromInline var mayLag: Bool
        @usableFromInline var family: FamilyID
        @usableFromInline var offset: Int
        @usableFromInline var keyCount: Int
        @usableFromInline var valueCount: Int

        @inlinable
        init(kind: Kind, mayLag: Bool, family: FamilyID, offset: Int, keyCount: Int, valueCount: Int) {
            self.kind = kind
            self.mayLag = mayLag
            self.family = family
            self.offset = offset
            self.keyCount = keyCount
            self.valueCount = valueCount
        }
    }

    /// One operation, as `forEach` shows it. The buffers live as long as the call.
    public enum OperationView {
        case put(FamilyID, key: UnsafeRawBufferPointer, value: UnsafeRawBufferPointer)
        case delete(FamilyID, key: UnsafeRawBufferPointer)
        /// Deletes `lower..<upper`; without `upper`, to the end of the family. Does nothing when `upper <= lower`.
        case deleteRange(FamilyID, lower: UnsafeRawBufferPointer, upper: UnsafeRawBufferPointer?)
    }

    @usableFromInline var operations: [Operation] = []
    @usableFromInline var bytes: [UInt8] = []
    /// What is added from now on may be lost in a crash though the batch is written `.logged`: it follows from what the
    /// batch, or one before it, makes durable.
    public var mayLag = false

    public init() {}

    public var isEmpty: Bool { operations.isEmpty }
    /// Operations in the batch.
    public var count: Int { operations.count }
    /// Bytes of keys and values in the batch.
    public var byteCount: Int { bytes.count }

    @inlinable
    public mutating func put(_ family: FamilyID, key: some Collection<UInt8>, value: some Collection<UInt8>) {
        add(.put, family, key, value)
    }

    @inlinable
    public mutating func delete(_ family: FamilyID, key: some Collection<UInt8>) {
        add(.delete, family, key, EmptyCollection())
    }

    /// Deletes every key in `lower..<upper`; without `upper`, every key from `lower` on.
    public mutating func deleteRange(_ family: FamilyID, from lower: some Collection<UInt8>, to upper: [UInt8]?) {
        if let upper {
            add(.deleteRange, family, lower, upper)
        } else {
            add(.deleteToEnd, family, lower, EmptyCollection())
        }
    }

    public mutating func append(_ other: WriteBatch) {
        let base = bytes.count
        bytes.append(contentsOf: other.bytes)
        operations.reserveCapacity(operations.count + other.operations.count)
        for var operation in other.operations {
            operation.offset += base
            operations.append(operation)
        }
    }

    public mutating func removeAll(keepingCapacity: Bool = true) {
        operations.removeAll(keepingCapacity: keepingCapacity)
        bytes.removeAll(keepingCapacity: keepingCapacity)
    }

    /// The families that the batch writes to.
    public var families: Set<FamilyID> { Set(operations.map(\.family)) }

    @inlinable
    mutating func add(
        _ kind: Kind, _ family: FamilyID, _ key: some Collection<UInt8>, _ value: some Collection<UInt8>
    ) {
        let offset = bytes.count
        add(key)
        let keyCount = bytes.count - offset
        add(value)
        operations.append(
            Operation(
                kind: kind, mayLag: mayLag, family: family, offset: offset, keyCount: keyCount,
                valueCount: bytes.count - offset - keyCount))
    }

    /// As a buffer where that can be had: it needn't be held on to.
    @inlinable @inline(__always)
    mutating func add(_ more: some Collection<UInt8>) {
        let isAdded: Void? = more.withContiguousStorageIfAvailable {
            bytes.append(contentsOf: UnsafeRawBufferPointer($0))
        }
        if isAdded == nil { bytes.append(contentsOf: more) }
    }

    /// Visits the operations in the order in which they were added.
    public func forEach<Failure: Error>(_ body: (OperationView) throws(Failure) -> Void) throws(Failure) {
        try forEachOperation { (operation, key, value) throws(Failure) in
            switch operation.kind {
            case .put: try body(.put(operation.family, key: key, value: value))
            case .delete: try body(.delete(operation.family, key: key))
            case .deleteRange: try body(.deleteRange(operation.family, lower: key, upper: value))
            case .deleteToEnd: try body(.deleteRange(operation.family, lower: key, upper: nil))
            }
        }
    }

    /// Visits the operations with their key, or lower bound, and their value, or upper bound.
    @inline(__always)
    func forEachOperation<Failure: Error>(
        _ body: (Operation, _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        var failure: Failure?
        bytes.withUnsafeBytes { all in
            for operation in operations {
                let valueStart = operation.offset + operation.keyCount
                do throws(Failure) {
                    try body(
                        operation, UnsafeRawBufferPointer(rebasing: all[operation.offset..<valueStart]),
                        UnsafeRawBufferPointer(rebasing: all[valueStart..<valueStart + operation.valueCount]))
                } catch {
                    failure = error
                    return
                }
            }
        }
        if let failure { throw failure }
    }

    /// The operations, and the keys and values that they point into for as long as the call lasts.
    func withOperations<Failure: Error>(
        _ body: ([Operation], UnsafeRawBufferPointer) throws(Failure) -> Void
    ) throws(Failure) {
        var failure: Failure?
        bytes.withUnsafeBytes { all in
            do throws(Failure) { try body(operations, all) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// The bytes for somebody who keeps them: as they are, or, where they lie in much more room than they need, a copy.
    /// A batch that is filled over and over has the room of its largest filling, and would lose it each time.
    package var keepableBytes: [UInt8] {
        bytes.capacity <= 2 * bytes.count + 64 ? bytes : bytes.withUnsafeBufferPointer { Array($0) }
    }

    /// About what an engine needs to keep the operations that needn't be on disk.
    func waitingBytes(_ durability: Durability) -> Int {
        switch durability {
        case .buffered: byteCount + 64 * count
        // The bytes are kept whole.
        case .logged: operations.contains(where: \.mayLag) ? byteCount + 64 * count : 0
        case .synced: 0
        }
    }

    /// No range deletes.
    var isPointwise: Bool { !operations.contains { $0.kind == .deleteRange || $0.kind == .deleteToEnd } }

    /// Refuses what no engine may be given: empty or oversized keys, oversized values, families that don't exist.
    func validate(_ exists: (FamilyID) -> Bool) throws(EngineError) {
        var known: FamilyID?
        for operation in operations {
            // Runs of one family are the rule; asking once for each run keeps this off the profile.
            if operation.family != known {
                guard exists(operation.family) else { throw .familyMissing(operation.family) }
                known = operation.family
            }
            guard operation.kind == .put || operation.kind == .delete else { continue }
            if operation.keyCount == 0 { throw .unsupported("an empty key") }
            if operation.keyCount > EngineLimits.keyBytesMax {
                throw .tooLarge(what: "key", bytes: operation.keyCount, limit: EngineLimits.keyBytesMax)
            }
            if operation.valueCount > EngineLimits.valueBytesMax {
                throw .tooLarge(what: "value", bytes: operation.valueCount, limit: EngineLimits.valueBytesMax)
            }
        }
    }
}
