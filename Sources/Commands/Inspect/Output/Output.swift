internal import CommandSupport

/// Standard output, in large pieces.
final class Output {
    /// Nobody reads it any more: what follows needn't be read either.
    struct ReaderGone: Error {}

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
        defer {
            buffer.removeAll(keepingCapacity: true)
            blocking(false)
        }
        try StandardOutput.write(buffer)
        if StandardOutput.isReaderGone { throw ReaderGone() }
    }
}
