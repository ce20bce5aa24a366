#if RocksDB
    internal import CRocksDB

    /// A batch in the form that RocksDB gives it itself, which is also the form of its log (`write_batch.cc`): a sequence
    /// number of 8 bytes, which RocksDB fills in, a count of 4, and the records: a tag, the family's number, and one or
    /// two strings, each behind its length. Filled in one pass here and handed over with one call, where the C interface
    /// takes one call for each record.
    package struct RocksDBBatch: ~Copyable {
        private enum Tag {
            static let logData: UInt8 = 0x03
            static let deletion: UInt8 = 0x04
            static let value: UInt8 = 0x05
            static let rangeDeletion: UInt8 = 0x0e
        }

        private static let headerBytes = 12
        /// A tag and three numbers of up to five bytes.
        private static let recordBytesMax = 16
        /// Beyond this the room is given back after use.
        private static let keptBytesMax = 4 << 20
        /// Above every key: keys have at most 511 bytes.
        private static let end = [UInt8](repeating: 0xff, count: EngineLimits.keyBytesMax + 1)

        private var room = UnsafeMutableRawBufferPointer.allocate(byteCount: 16 << 10, alignment: 8)
        private var count = 0
        private var records: UInt32 = 0

        package init() {}
        deinit { room.deallocate() }

        package var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: room[..<count]) }

        /// Fills it anew. `log` goes into RocksDB's log and nowhere else; `number` gives a family's number in RocksDB.
        package mutating func fill(_ batch: WriteBatch, log: [UInt8], _ number: (FamilyID) -> UInt32?) {
            let ends = batch.operations.reduce(0) { $1.kind == .deleteToEnd ? $0 + Self.end.count : $0 }
            let bytesMax =
                Self.headerBytes + Self.recordBytesMax * (batch.count + 1) + log.count + batch.byteCount + ends
            if room.count < bytesMax || room.count > max(bytesMax, Self.keptBytesMax) {
                room.deallocate()
                room = .allocate(byteCount: bytesMax, alignment: 8)
            }
            count = Self.headerBytes
            records = 0
            put(Tag.logData)
            log.withUnsafeBytes { put($0) }
            var family: FamilyID?
            var current: UInt32?
            batch.forEachOperation { operation, key, value in
                if operation.family != family {
                    family = operation.family
                    current = number(operation.family)
                }
                guard let current else { return }
                switch operation.kind {
                case .put: put(Tag.value, current, key, value)
                case .delete:
                    put(Tag.deletion, current, key)
                case .deleteRange:
                    if compareKeys(key, value) < 0 { put(Tag.rangeDeletion, current, key, value) }
                case .deleteToEnd: Self.end.withUnsafeBytes { put(Tag.rangeDeletion, current, key, $0) }
                }
            }
            room.storeBytes(of: 0, toByteOffset: 0, as: UInt64.self)
            room.storeBytes(of: records.littleEndian, toByteOffset: 8, as: UInt32.self)
        }

        @inline(__always)
        private mutating func put(
            _ tag: UInt8, _ family: UInt32, _ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer
        ) {
            put(tag, family, key)
            put(value)
        }

        @inline(__always)
        private mutating func put(_ tag: UInt8, _ family: UInt32, _ key: UnsafeRawBufferPointer) {
            put(tag)
            put(varint: family)
            put(key)
            records += 1
        }

        @inline(__always)
        private mutating func put(_ byte: UInt8) {
            room[count] = byte
            count += 1
        }

        @inline(__always)
        private mutating func put(varint number: UInt32) {
            var rest = number
            while rest >= 0x80 {
                put(UInt8(truncatingIfNeeded: rest) | 0x80)
                rest >>= 7
            }
            put(UInt8(truncatingIfNeeded: rest))
        }

        @inline(__always)
        private mutating func put(_ string: UnsafeRawBufferPointer) {
            put(varint: UInt32(string.count))
            guard let from = string.baseAddress else { return }
            UnsafeMutableRawBufferPointer(rebasing: room[count...]).copyMemory(
                from: UnsafeRawBufferPointer(start: from, count: string.count))
            count += string.count
        }
    }
#endif
