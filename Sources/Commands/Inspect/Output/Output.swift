internal import Foundation

/// Standard output, in large pieces.
final class Output {
    private var buffer: [UInt8] = []
    private let blocking: (Bool) -> Void
    private static let bufferBytes = 128 << 10

    /// `blocking` hears true before each write, which may wait for a reader, and false after it.
    init(_ blocking: @escaping (Bool) -> Void) { self.blocking = blocking }

    func write(_ text: String) throws {
        buffer.append(contentsOf: text.utf8)
        if buffer.count >= Self.bufferBytes { try flush() }
    }

    /// Fills the buffer in place.
    func write(_ body: (inout [UInt8]) -> Void) throws {
        body(&buffer)
        if buffer.count >= Self.bufferBytes { try flush() }
    }

    func flush() throws {
        guard !buffer.isEmpty else { return }
        blocking(true)
        var start = 0
        while start < buffer.count {
            let count = buffer[start...].withUnsafeBytes { Foundation.write(1, $0.baseAddress, $0.count) }
            if count < 0 {
                if errno == EINTR { continue }
                // The reader has what it wanted.
                if errno == EPIPE { exit(0) }
                throw Failure("writing standard output: \(String(cString: strerror(errno)))")
            }
            start += count
        }
        buffer.removeAll(keepingCapacity: true)
        blocking(false)
    }
}
