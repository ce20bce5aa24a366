internal import ArgumentParser
internal import CommandSupport
internal import Inspect

struct HexOption: ParsableArguments {
    @Flag(help: "Print and take keys and values in hexadecimal.") var hex = false

    /// Bytes for a table.
    func text(_ bytes: some Sequence<UInt8>) -> String { hex ? BytesText.hex(bytes) : BytesText.escaped(bytes) }

    func append(_ bytes: UnsafeRawBufferPointer, to buffer: inout [UInt8]) {
        if hex { BytesText.hex(bytes, into: &buffer) } else { BytesText.escape(bytes, into: &buffer) }
    }

    /// A key as it was typed.
    func parse(_ text: String, _ option: String) throws -> [UInt8] {
        guard hex else { return BytesText.parse(ArgumentText.bytes(of: text)) }
        guard let bytes = BytesText.parseHex(text) else {
            throw ValidationError("\(option) takes hexadecimal digits, two for each byte, with --hex; not \"\(text)\".")
        }
        return bytes
    }
}
