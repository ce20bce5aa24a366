public import Bytes
public import Engines

/// Where a group's rows lie in the engine (docs/formats.md, "Group").
///
/// The meta family holds, by their first byte, rows that are this replica's own and rows that are replicated;
/// a Raft snapshot carries the replicated ones and never touches the others.
public struct GroupLayout: Sendable, Equatable {
    public let gid: UInt64
    public let log: FamilyID
    public let meta: FamilyID

    public init(gid: UInt64, log: FamilyID, meta: FamilyID) {
        self.gid = gid
        self.log = log
        self.meta = meta
    }

    // Local rows.
    package static let hardStateKey: [UInt8] = [0x01]
    package static let baseKey: [UInt8] = [0x02]
    static let bootstrapKey: [UInt8] = [0x03]
    /// Name -> a family that was loaded here and that an entry may map.
    static let stagedPrefix: UInt8 = 0x04
    /// The index of a membership that was made by force -> `RecoveryNote`.
    static let recoveryPrefix: UInt8 = 0x05

    /// Rows from here on are replicated.
    static let replicatedLower: [UInt8] = [0x10]
    static let appliedKey: [UInt8] = [0x10]
    static let membershipKey: [UInt8] = [0x11]
    /// Logical name -> physical family. The name is replicated, the number is this replica's own.
    static let familyPrefix: UInt8 = 0x20
    /// The state machine's rows.
    public static let statePrefix: UInt8 = 0x40

    static func familyKey(_ name: String) -> [UInt8] { [familyPrefix] + Array(name.utf8) }
    static func stagedKey(_ name: String) -> [UInt8] { [stagedPrefix] + Array(name.utf8) }
    package static func logKey(_ index: LogIndex) -> [UInt8] { bigEndianBytes(index) }

    /// An entry as a row of the log family. The checksum covers group and index too, so that a record which
    /// lands in another's place is found out.
    package func logValue(_ entry: Entry) -> [UInt8] {
        var writer = ByteWriter(reserving: entry.payload.count + 32)
        writer.fixed32(0)
        writer.varint(entry.term)
        writer.byte(entry.kind.rawValue)
        writer.varint(entry.stamp)
        writer.bytes.append(contentsOf: entry.payload)
        let crc = checksum(entry.index, writer.bytes.dropFirst(4))
        withUnsafeBytes(of: crc.littleEndian) { for (at, byte) in $0.enumerated() { writer.bytes[at] = byte } }
        return writer.bytes
    }

    private func checksum(_ index: LogIndex, _ rest: ArraySlice<UInt8>) -> UInt32 {
        var place = (gid.littleEndian, index.littleEndian)
        let seed = withUnsafeBytes(of: &place) { crc32c($0) }
        return rest.withUnsafeBytes { crc32c($0, continuing: seed) }
    }

    func entry(index: LogIndex, value: UnsafeRawBufferPointer) throws(EngineError) -> Entry {
        let damaged = EngineError.corruption(place: "log of group \(gid), entry \(index)")
        guard value.count >= 7 else { throw damaged }
        let bytes = Array(value)
        let stored = UInt32(littleEndian: value.loadUnaligned(as: UInt32.self))
        guard stored == checksum(index, bytes[4...]) else { throw damaged }
        do throws(CodingError) {
            var reader = ByteReader(bytes[4...], place: "log entry")
            let term = try reader.varint()
            guard let kind = Entry.Kind(rawValue: try reader.byte()) else { throw CodingError("log entry") }
            let stamp = try reader.varint()
            return Entry(
                index: index, term: term, kind: kind, stamp: stamp, payload: Array(bytes.suffix(reader.remaining)))
        } catch {
            throw damaged
        }
    }

    /// Whether the log goes on behind an entry that isn't there: compaction would have taken the one before too, and what
    /// isn't written yet has nothing behind it.
    private func isHole(_ index: LogIndex, in view: any ReadView) throws(EngineError) -> Bool {
        guard try view.get(log, key: Self.logKey(index - 1)) != nil else { return false }
        var goesOn = false
        try view.scan(log, lower: Self.logKey(index + 1), upper: nil) { _, _ in
            goesOn = true
            return false
        }
        return goesOn
    }

    /// Entries from `lower` on, at most `bytesMax` (at least one), for a follower that is behind. None, if the log has
    /// been compacted beyond `lower`.
    public func readEntries(
        from lower: LogIndex, through upper: LogIndex, bytesMax: Int, in view: any ReadView
    ) throws(EngineError) -> [Entry] {
        var entries: [Entry] = []
        var size = 0
        let cursor = try view.cursor(log, lower: Self.logKey(lower), upper: Self.logKey(upper + 1), reverse: false)
        while true {
            let next = try cursor.next { key, value in (bigEndianNumber(key) ?? 0, Array(value)) }
            guard let (index, value) = next else { break }
            guard index == lower + LogIndex(entries.count) else { break }
            let decoded = try decode(index, value)
            size += decoded.size
            if !entries.isEmpty, size > bytesMax { break }
            entries.append(decoded)
        }
        if entries.isEmpty, lower > 0, try isHole(lower, in: view) {
            throw .corruption(place: "log of group \(gid): entry \(lower) is missing")
        }
        return entries
    }

    package func decode(_ index: LogIndex, _ value: [UInt8]) throws(EngineError) -> Entry {
        var result: Result<Entry, EngineError> = .failure(.closed)
        value.withUnsafeBytes { buffer in
            do throws(EngineError) { result = .success(try entry(index: index, value: buffer)) } catch {
                result = .failure(error)
            }
        }
        return try result.get()
    }
}

/// How far the state machine is, in the same batch as its effects.
public struct AppliedState: Sendable, Equatable {
    public var position: LogPosition
    /// The largest stamp of any applied entry, in Unix milliseconds.
    public var logTime: Milliseconds

    public init(position: LogPosition, logTime: Milliseconds) {
        self.position = position
        self.logTime = logTime
    }

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.varint(position.index)
        writer.varint(position.term)
        writer.varint(logTime)
        return writer.bytes
    }

    public init(encoded: [UInt8]) throws(CodingError) {
        var reader = ByteReader(encoded, place: "applied state")
        position = LogPosition(index: try reader.varint(), term: try reader.varint())
        logTime = try reader.varint()
        try reader.finish()
    }
}

extension GroupLayout {
    /// The physical family of a logical name, as `view` sees it.
    public func family(_ name: String, in view: any ReadView) throws(EngineError) -> FamilyID? {
        guard let row = try view.get(meta, key: Self.familyKey(name)) else { return nil }
        return row.withUnsafeBytes { bigEndianNumber($0) }.map { FamilyID($0) }
    }

    /// The record with which the group began here, if this replica is one of its founders.
    public func bootstrapRecord(in view: any ReadView) throws(EngineError) -> BootstrapRecord? {
        guard let row = try view.get(meta, key: Self.bootstrapKey) else { return nil }
        do throws(CodingError) { return try BootstrapRecord(encoded: row) } catch {
            throw .corruption(place: "bootstrap record of group \(gid)")
        }
    }
}
