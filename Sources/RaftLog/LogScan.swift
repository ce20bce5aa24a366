internal import Bytes
public import Engines

/// A row of the log family as it lies there, verified and not copied.
public struct LogRow {
    public var index: LogIndex
    public var term: Term
    public var kind: Entry.Kind
    /// Unix milliseconds; 0 in entries that carry none.
    public var stamp: Milliseconds
    /// Bytes of the whole row, its key included.
    public var rowBytes: Int
    /// Valid as long as the call that shows it.
    public var payload: UnsafeRawBufferPointer
}

extension GroupLayout {
    /// Shows the entries from `lower` through `upper` in order, each verified by its checksum, until `body` returns
    /// false. A gap between two of them is damage. Nothing is copied: a log may be larger than memory.
    public func scanLog(
        from lower: LogIndex = 0, through upper: LogIndex = .max, in view: any ReadView,
        _ body: (LogRow) -> Bool
    ) throws(EngineError) {
        let end = upper == .max ? nil : Self.logKey(upper + 1)
        let cursor = try view.cursor(log, lower: Self.logKey(lower), upper: end, reverse: false)
        var expected: LogIndex?
        while true {
            let shown = try cursor.next { key, value -> Result<Bool, EngineError> in
                guard key.count == 8, let index = bigEndianNumber(key) else {
                    return .failure(.corruption(place: "log of group \(gid): a key that is no index"))
                }
                if let expected, index != expected {
                    return .failure(.corruption(place: "log of group \(gid): entry \(expected) is missing"))
                }
                expected = index &+ 1
                guard let row = row(index, value) else {
                    return .failure(.corruption(place: "log of group \(gid), entry \(index)"))
                }
                return .success(body(row))
            }
            guard let shown, try shown.get() else { return }
        }
    }

    /// Nothing if the row isn't what `logValue` wrote at this index.
    private func row(_ index: LogIndex, _ value: UnsafeRawBufferPointer) -> LogRow? {
        guard value.count >= 7 else { return nil }
        var place = (gid.littleEndian, index.littleEndian)
        let rest = UnsafeRawBufferPointer(rebasing: value.dropFirst(4))
        let crc = crc32c(rest, continuing: withUnsafeBytes(of: &place) { crc32c($0) })
        guard UInt32(littleEndian: value.loadUnaligned(as: UInt32.self)) == crc else { return nil }
        var offset = 0
        func varint() -> UInt64? {
            var number: UInt64 = 0
            for shift in stride(from: UInt64(0), through: 63, by: 7) {
                guard offset < rest.count else { return nil }
                let byte = rest[offset]
                offset += 1
                if shift == 63, byte > 1 { return nil }
                number |= UInt64(byte & 0x7f) << shift
                if byte & 0x80 == 0 { return number }
            }
            return nil
        }
        guard let term = varint(), offset < rest.count, let kind = Entry.Kind(rawValue: rest[offset]) else {
            return nil
        }
        offset += 1
        guard let stamp = varint() else { return nil }
        return LogRow(
            index: index, term: term, kind: kind, stamp: stamp, rowBytes: value.count + 8,
            payload: UnsafeRawBufferPointer(rebasing: rest.dropFirst(offset)))
    }

    /// "controller" or "group 7".
    public var title: String { gid == 0 ? "controller" : "group \(gid)" }
}
