internal import ArgumentParser

/// Arguments as text that keeps every byte.
///
/// Keys and values are bytes, and so is what a shell passes on. `CommandLine.arguments` puts U+FFFD in the place of what
/// isn't UTF-8, so that different arguments become one. Here a byte 0xNN that isn't part of any character stands as the
/// private character U+10F7NN; the parser of arguments, which wants strings, carries it along as any other letter. Where
/// an argument holds one of these characters itself, its four bytes stand so one by one. So what `bytes(of:)` reads is
/// what `text(of:)` was given, whatever that was: no two arguments have the same text.
package enum ArgumentText {
    private static let first: UInt32 = 0x10_f700
    private static let stands: ClosedRange<UInt32> = first...(first + 0xff)

    /// The words behind the program's name, and the name before them.
    package static func commandLine() -> [String] {
        (0..<Int(CommandLine.argc)).compactMap { place in
            guard let word = CommandLine.unsafeArgv[place] else { return nil }
            // A C string, read as bytes: as a string it would be repaired.
            var bytes: [UInt8] = []
            var at = word
            while at.pointee != 0 {
                bytes.append(UInt8(bitPattern: at.pointee))
                at += 1
            }
            return text(of: bytes)
        }
    }

    package static func text(of bytes: [UInt8]) -> String {
        var scalars = String.UnicodeScalarView()
        var parser = Unicode.UTF8.ForwardParser()
        var input = bytes.makeIterator()
        var position = 0
        while true {
            var isText = false
            let length: Int
            switch parser.parseScalar(from: &input) {
            case .emptyInput: return String(scalars)
            case .error(let count): length = count
            case .valid(let encoded):
                length = encoded.count
                let scalar = Unicode.UTF8.decode(encoded)
                isText = !stands.contains(scalar.value)
                if isText { scalars.append(scalar) }
            }
            if !isText {
                for byte in bytes[position..<(position + length)] {
                    guard let stand = Unicode.Scalar(first + UInt32(byte)) else { continue }
                    scalars.append(stand)
                }
            }
            position += length
        }
    }

    package static func bytes(of text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(text.utf8.count)
        for scalar in text.unicodeScalars {
            if stands.contains(scalar.value) {
                bytes.append(UInt8(truncatingIfNeeded: scalar.value - first))
            } else {
                bytes.append(contentsOf: UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
            }
        }
        return bytes
    }

    /// For paths and names, which are text: `@Option(transform: ArgumentText.plain)`.
    @Sendable package static func plain(_ argument: String) throws -> String {
        guard let text = String(validating: bytes(of: argument), as: UTF8.self) else {
            throw ValidationError("it is not UTF-8, and of all arguments only keys and values may be other bytes")
        }
        return text
    }
}

/// A key or a value, as the bytes that were typed.
package struct ByteArgument: ExpressibleByArgument, Sendable, Equatable {
    package var bytes: [UInt8]

    package init(_ bytes: [UInt8] = []) { self.bytes = bytes }
    package init(argument: String) { bytes = ArgumentText.bytes(of: argument) }
    package var defaultValueDescription: String { String(decoding: bytes, as: UTF8.self) }
}
