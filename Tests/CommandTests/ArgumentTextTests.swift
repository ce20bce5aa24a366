import ArgumentParser
import CommandSupport
import Testing

/// Bytes of arguments, on their way through a parser that wants strings.
@Suite struct ArgumentTextTests {
    private static let arguments: [[UInt8]] = [
        [], Array("key".utf8), Array("Schlüssel \u{1f511}".utf8), Array("e\u{301}".utf8), [0xff], [0xfe], [0xff, 0xfe],
        [0xc3], [0xc3, 0x28], [0xe2, 0x82], [0xed, 0xa0, 0x80], [0xc0, 0x80], [0xf4, 0x90, 0x80, 0x80],
        Array("a".utf8) + [0x80] + Array("b".utf8), Array("\u{fffd}".utf8), Array("\u{10f780}".utf8),
        Array("\u{10f7ff}".utf8), Array("\u{10f6ff}".utf8), Array("\u{10f800}".utf8), [0xf4, 0x8f],
        Array("\u{10f7f4}\u{10f78f}".utf8),
    ]

    @Test func everyByteComesBack() {
        for bytes in Self.arguments {
            #expect(ArgumentText.bytes(of: ArgumentText.text(of: bytes)) == bytes, "\(bytes)")
        }
        let pairs = (UInt8.min ... .max).flatMap { first in (UInt8.min ... .max).map { [first, $0] } }
        #expect(pairs.allSatisfy { ArgumentText.bytes(of: ArgumentText.text(of: $0)) == $0 })
    }

    @Test func noTwoArgumentsHaveTheSameText() {
        let texts = Self.arguments.map { Array(ArgumentText.text(of: $0).unicodeScalars.map(\.value)) }
        #expect(Set(texts).count == Self.arguments.count)
    }

    @Test func textStaysAsItIs() {
        for text in ["", "--timeout=5", "Schlüssel \u{1f511}", "\u{fffd}"] {
            #expect(ArgumentText.text(of: Array(text.utf8)) == text)
        }
    }

    @Test func pathsAreText() throws {
        #expect(try ArgumentText.plain("/tmp/daten") == "/tmp/daten")
        // A character that stands for itself is as good as any other.
        let rare = Array("\u{10f780}".utf8)
        #expect(Array(try ArgumentText.plain(ArgumentText.text(of: rare)).utf8) == rare)
        #expect(throws: ValidationError.self) { try ArgumentText.plain(ArgumentText.text(of: [0x2f, 0xff])) }
    }

    @Test func anArgumentThatIsAKeyHasItsBytes() {
        #expect(ByteArgument(argument: ArgumentText.text(of: [0x6b, 0xff])).bytes == [0x6b, 0xff])
        #expect(ByteArgument(argument: "é").bytes == [0xc3, 0xa9])
    }
}

/// What a terminal is shown.
@Suite struct TerminalTextTests {
    private func shown(_ text: String, keepsLines: Bool = false) -> String {
        String(decoding: TerminalText.escape(Array(text.utf8), keepsLines: keepsLines), as: UTF8.self)
    }

    @Test func whatPrintsStays() {
        for text in ["", "plain", "Schlüssel, ключ, 鍵, \u{1f511}", "a b", "C:\\temp"] { #expect(shown(text) == text) }
    }

    @Test func controlsAreShownAndNotObeyed() {
        #expect(shown("\u{1b}[2J") == "\\x1b[2J")
        #expect(shown("a\tb\nc\r") == "a\\x09b\\x0ac\\x0d")
        #expect(shown("\u{7f}\u{9b}") == "\\x7f\\xc2\\x9b")
        #expect(shown("user\u{202e}txt") == "user\\xe2\\x80\\xaetxt")
        #expect(shown("a\tb\nc\r", keepsLines: true) == "a\tb\nc\\x0d")
        #expect(TerminalText.escape([0x61, 0xff, 0x62]) == Array("a\\xffb".utf8))
    }

    @Test func noTwoValuesLookTheSame() {
        #expect(shown("\\x41") == "\\x5cx41")
        #expect(shown("\\") == "\\")
    }
}
