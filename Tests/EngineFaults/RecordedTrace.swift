import Foundation

/// One call that `WriteRecorder` wrote down. The layout is that of write_recorder.h.
public enum RecordedCall: Sendable {
    case open(descriptor: Int32, name: String, flags: Int32)
    case close(descriptor: Int32)
    case write(descriptor: Int32, offset: Int, bytes: Range<Int>)
    case truncate(descriptor: Int32, name: String, size: Int)
    case allocate(descriptor: Int32, end: Int, keepsSize: Bool)
    case sync(descriptor: Int32)
    case rename(from: String, to: String)
    case link(from: String, to: String)
    case unlink(String)
    case makeDirectory(String)
    case removeDirectory(String)
    case map(descriptor: Int32)
    case say(Range<Int>)
}

/// The calls of one life of a program, in the order in which they returned.
public struct RecordedTrace: Sendable {
    /// The whole file; the calls point into it.
    public let bytes: [UInt8]
    public let calls: [RecordedCall]

    private static let headBytes = 40

    public init(bytes: [UInt8], calls: [RecordedCall]) {
        self.bytes = bytes
        self.calls = calls
    }

    public init(contentsOf path: String) throws {
        bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        var calls: [RecordedCall] = []
        var at = 0
        while at + Self.headBytes <= bytes.count {
            let head = bytes[at..<at + Self.headBytes]
            func number<Number: FixedWidthInteger>(_ offset: Int, _: Number.Type) -> Number {
                head.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: Number.self) }
            }
            let nameEnd = at + Self.headBytes + Int(number(12, UInt32.self))
            let dataEnd = nameEnd + Int(number(32, UInt64.self))
            // A writer that was killed may leave half a record.
            guard dataEnd <= bytes.count else { break }
            let name = String(decoding: bytes[at + Self.headBytes..<nameEnd], as: UTF8.self)
            let data = nameEnd..<dataEnd
            let second = { [bytes] in String(decoding: bytes[data], as: UTF8.self) }
            let descriptor = number(4, Int32.self)
            let offset = Int(number(16, UInt64.self))
            let value = Int(number(24, UInt64.self))
            switch number(0, UInt32.self) {
            case 1: calls.append(.open(descriptor: descriptor, name: name, flags: Int32(truncatingIfNeeded: value)))
            case 2: calls.append(.close(descriptor: descriptor))
            case 3: calls.append(.write(descriptor: descriptor, offset: offset, bytes: data))
            case 4: calls.append(.truncate(descriptor: descriptor, name: name, size: offset))
            case 5:
                // FALLOC_FL_KEEP_SIZE
                let keepsSize = number(8, UInt32.self) & 1 != 0
                calls.append(.allocate(descriptor: descriptor, end: offset + value, keepsSize: keepsSize))
            case 6: calls.append(.sync(descriptor: descriptor))
            case 7: calls.append(.rename(from: name, to: second()))
            case 8: calls.append(.link(from: name, to: second()))
            case 9: calls.append(.unlink(name))
            case 10: calls.append(.makeDirectory(name))
            case 11: calls.append(.removeDirectory(name))
            case 12: calls.append(.map(descriptor: descriptor))
            case 13: calls.append(.say(data))
            case let kind: throw BrokenRule("call of kind \(kind) at byte \(at) of \(path)")
            }
            at = dataEnd
        }
        self.calls = calls
    }

    /// The calls before `count`, after which the process was killed, and those of the life after it: one story of one
    /// disk, on which nothing was synced by the end of the first.
    public func killed(after count: Int, then next: RecordedTrace) -> RecordedTrace {
        var calls = Array(calls.prefix(count))
        var open: Set<Int32> = []
        for call in calls {
            switch call {
            case .open(let descriptor, _, _): open.insert(descriptor)
            case .close(let descriptor): open.remove(descriptor)
            default: break
            }
        }
        calls += open.map { .close(descriptor: $0) }
        let shift = bytes.count
        func moved(_ range: Range<Int>) -> Range<Int> { range.lowerBound + shift..<range.upperBound + shift }
        for call in next.calls {
            switch call {
            case .write(let descriptor, let offset, let bytes):
                calls.append(.write(descriptor: descriptor, offset: offset, bytes: moved(bytes)))
            case .say(let bytes): calls.append(.say(moved(bytes)))
            default: calls.append(call)
            }
        }
        return RecordedTrace(bytes: bytes + next.bytes, calls: calls)
    }
}
