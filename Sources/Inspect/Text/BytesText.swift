/// Keys and values as text that shows every byte.
public enum BytesText {
    /// Printable ASCII as it is; every other byte, and the backslash, as `\xNN`. `parse` reads it back.
    public static func escaped(_ bytes: some Sequence<UInt8>) -> String { text(bytes, escape) }

    /// Two digits a byte.
    public static func hex(_ bytes: some Sequence<UInt8>) -> String { text(bytes, hex) }

    private static func text(
        _ bytes: some Sequence<UInt8>, _ append: (UnsafeRawBufferPointer, inout [UInt8]) -> Void
    ) -> String {
        var text: [UInt8] = []
        Array(bytes).withUnsafeBytes { append($0, &text) }
        return String(decoding: text, as: UTF8.self)
    }

    /// `escaped`, at the end of a buffer: for values by the million.
    public static func escape(_ bytes: UnsafeRawBufferPointer, into buffer: inout [UInt8]) {
        for byte in bytes {
            if byte >= 0x20, byte < 0x7f, byte != UInt8(ascii: "\\") {
                buffer.append(byte)
            } else {
                buffer.append(UInt8(ascii: "\\"))
                buffer.append(UInt8(ascii: "x"))
                buffer.append(digit(byte >> 4))
                buffer.append(digit(byte & 15))
            }
        }
    }

    /// `hex`, at the end of a buffer.
    public static func hex(_ bytes: UnsafeRawBufferPointer, into buffer: inout [UInt8]) {
        for byte in bytes {
            buffer.append(digit(byte >> 4))
            buffer.append(digit(byte & 15))
        }
    }

    @inline(__always)
    private static func digit(_ half: UInt8) -> UInt8 {
        half < 10 ? UInt8(ascii: "0") + half : UInt8(ascii: "a") + half - 10
    }

    /// Reads `\xNN`; everything else stands for itself, in UTF-8.
    public static func parse(_ text: String) -> [UInt8] { parse(Array(text.utf8)) }

    /// The same, of bytes that needn't be UTF-8.
    public static func parse(_ all: [UInt8]) -> [UInt8] {
        var bytes: [UInt8] = []
        var at = 0
        while at < all.count {
            if all[at] == UInt8(ascii: "\\"), at + 3 < all.count, all[at + 1] == UInt8(ascii: "x"),
                let high = value(ofDigit: all[at + 2]), let low = value(ofDigit: all[at + 3])
            {
                bytes.append(high << 4 | low)
                at += 4
            } else {
                bytes.append(all[at])
                at += 1
            }
        }
        return bytes
    }

    /// Reads what `hex` writes; `nil` for anything else.
    public static func parseHex(_ text: String) -> [UInt8]? {
        let all = Array(text.utf8)
        guard all.count % 2 == 0 else { return nil }
        var bytes: [UInt8] = []
        for at in stride(from: 0, to: all.count, by: 2) {
            guard let high = value(ofDigit: all[at]), let low = value(ofDigit: all[at + 1]) else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    private static func value(ofDigit character: UInt8) -> UInt8? {
        switch character {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): character - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): character - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): character - UInt8(ascii: "A") + 10
        default: nil
        }
    }
}

/// Bytes under a name in JSON: as text if they are UTF-8, else in Base64 under the name with `Base64` behind it.
struct BytesKey: CodingKey {
    var stringValue: String
    var intValue: Int? { nil }
    init(_ name: String) { stringValue = name }
    init?(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { nil }
}
