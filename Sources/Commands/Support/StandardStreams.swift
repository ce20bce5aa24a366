internal import Glibc
internal import Synchronization

/// The three descriptors that every process is born with.
package enum StandardStreams {
    /// Those that were closed when the process began, a bit for each.
    private static let closed = Atomic<UInt8>(0)

    /// Puts something harmless in the place of a closed descriptor. The very first thing that a program does: the next
    /// file that is opened would have its number, and a note for people would then be written into a node's data.
    ///
    /// What was closed is remembered, so that output still fails instead of vanishing.
    package static func prepare() {
        for descriptor: Int32 in 0...2 where fcntl(descriptor, F_GETFD) < 0 && errno == EBADF {
            closed.bitwiseOr(1 << UInt8(descriptor), ordering: .relaxed)
            fill(descriptor)
        }
    }

    private static func fill(_ descriptor: Int32) {
        var file = open("/dev/null", O_RDWR)
        // Without devices, as in a bare chroot: a directory can be neither read nor written, and has the place.
        if file < 0 { file = open("/", O_RDONLY) }
        guard file >= 0, file != descriptor else { return }
        dup2(file, descriptor)
        close(file)
    }

    /// Whether a descriptor was closed before `prepare` put something in its place. A child that is to find what this
    /// process found gets it closed.
    package static func wasClosed(_ descriptor: Int32) -> Bool {
        closed.load(ordering: .relaxed) & 1 << UInt8(descriptor) != 0
    }

    /// What the system says about an error number.
    static func reason(_ number: Int32) -> String { String(cString: strerror(number)) }

    /// Waits until a descriptor that is set not to block can be read or written. The setting is the other side's, who has
    /// the same end of a pipe or terminal, and is not for us to change.
    static func wait(for events: Int32, on descriptor: Int32) {
        var waiting = pollfd(fd: descriptor, events: Int16(events), revents: 0)
        while poll(&waiting, 1, -1) < 0, errno == EINTR {}
    }

    /// How a write ended.
    enum Written {
        case all
        /// Nobody reads it any more.
        case readerGone
        case failed(errno: Int32)
    }

    static func write(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) -> Written {
        var rest = bytes
        while !rest.isEmpty {
            let count = Glibc.write(descriptor, rest.baseAddress, rest.count)
            if count > 0 {
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(count))
                continue
            }
            switch count == 0 ? EIO : errno {
            case EINTR: continue
            case EAGAIN: wait(for: POLLOUT, on: descriptor)
            case EPIPE, ECONNRESET: return .readerGone
            case let number: return .failed(errno: number)
            }
        }
        return .all
    }
}

/// Why what a command has to say could not be written.
package struct OutputFailure: Error, Equatable, CustomStringConvertible {
    var reason: String
    /// What was asked for has been carried out, and only the answer is lost.
    var isDone = false

    package var description: String {
        let end = isDone ? "what was asked for is done, and only its answer is lost" : "the output is not complete"
        return "can't write to standard output: \(reason); \(end)"
    }
}

/// Standard output: all that a command has to say goes through here, at once and without a buffer that an exit could
/// forget.
package enum StandardOutput {
    private static let gone = Atomic<Bool>(false)

    /// Nobody reads any more, as behind `| head -1`: that is no failure. What is written from then on goes nowhere;
    /// whoever has much more to say asks, and stops.
    package static var isReaderGone: Bool { gone.load(ordering: .relaxed) }

    package static var isTerminal: Bool { isatty(1) == 1 }

    package static func write(_ bytes: [UInt8]) throws(OutputFailure) {
        guard !bytes.isEmpty, !isReaderGone else { return }
        guard !StandardStreams.wasClosed(1) else { throw OutputFailure(reason: "it is closed") }
        switch bytes.withUnsafeBytes({ StandardStreams.write($0, to: 1) }) {
        case .all: break
        case .readerGone: gone.store(true, ordering: .relaxed)
        case .failed(let number): throw OutputFailure(reason: StandardStreams.reason(number))
        }
    }

    package static func write(_ text: String) throws(OutputFailure) { try write(Array(text.utf8)) }

    /// A line, or several.
    package static func writeLine(_ text: String) throws(OutputFailure) { try write(Array(text.utf8) + [10]) }

    /// Says that something has been carried out. If that can't be said, the error says both.
    package static func confirm(_ text: String) throws(OutputFailure) {
        do throws(OutputFailure) { try writeLine(text) } catch {
            throw OutputFailure(reason: error.reason, isDone: true)
        }
    }
}

/// Standard error: for people. Nobody can be told if it fails.
package enum StandardError {
    package static var isTerminal: Bool { isatty(2) == 1 }

    package static func write(_ text: String) { write(Array(text.utf8)) }

    package static func write(_ bytes: [UInt8]) {
        _ = bytes.withUnsafeBytes { StandardStreams.write($0, to: 2) }
    }
}

/// A note for people, on standard error.
package func note(_ text: String) { StandardError.write("\(text)\n") }

/// Why standard input could not be read.
package struct InputFailure: Error, Equatable, CustomStringConvertible {
    var reason: String
    package var description: String { "can't read standard input: \(reason)" }
}

/// Standard input, as bytes.
package enum StandardInput {
    private static let pieceBytes = 1 << 16

    /// What is there, after waiting for the first of it; empty at the end.
    package static func read() throws(InputFailure) -> [UInt8] {
        guard !StandardStreams.wasClosed(0) else { throw InputFailure(reason: "it is closed") }
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: pieceBytes) { buffer, filled in
            repeat {
                let count = Glibc.read(0, buffer.baseAddress, buffer.count)
                failure = count < 0 ? errno : 0
                filled = max(0, count)
                if failure == EAGAIN { StandardStreams.wait(for: POLLIN, on: 0) }
            } while failure == EINTR || failure == EAGAIN
        }
        if failure != 0 { throw InputFailure(reason: StandardStreams.reason(failure)) }
        return bytes
    }

    /// Everything, but not much more than so many bytes: whoever gets more refuses it.
    package static func readAll(atMost bytesMax: Int) throws(InputFailure) -> [UInt8] {
        var all: [UInt8] = []
        while all.count <= bytesMax {
            let piece = try read()
            if piece.isEmpty { break }
            all += piece
        }
        return all
    }
}
