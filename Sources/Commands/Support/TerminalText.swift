/// Bytes as a terminal may have them.
///
/// Whoever writes a key chooses its bytes, and a terminal obeys some: they move the cursor, change the title, answer in the
/// reader's name. Characters that print stay as they are, all others stand as `\xNN`, a byte each. A backslash before an
/// `x` does too, so that what is shown says which bytes they are.
package enum TerminalText {
    /// - Parameter keepsLines: line feeds and tabs stay: for a value that is shown alone.
    package static func escape(_ bytes: [UInt8], keepsLines: Bool = false) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count)
        var parser = Unicode.UTF8.ForwardParser()
        var input = bytes.makeIterator()
        var position = 0
        while true {
            let length: Int
            var isShown = false
            switch parser.parseScalar(from: &input) {
            case .emptyInput: return text
            case .error(let count): length = count
            case .valid(let encoded):
                length = encoded.count
                let scalar = Unicode.UTF8.decode(encoded)
                let isEscape = scalar == "\\" && bytes.dropFirst(position + 1).first == UInt8(ascii: "x")
                isShown = !isEscape && (prints(scalar) || (keepsLines && (scalar == "\n" || scalar == "\t")))
            }
            let piece = bytes[position..<(position + length)]
            if isShown { text += piece } else { for byte in piece { text += hex(byte) } }
            position += length
        }
    }

    private static func prints(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        // Controls; what turns the direction of writing; what has no meaning; what breaks lines.
        case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
        default: true
        }
    }

    private static func hex(_ byte: UInt8) -> [UInt8] {
        let digits = Array("0123456789abcdef".utf8)
        return [UInt8(ascii: "\\"), UInt8(ascii: "x"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
    }
}
