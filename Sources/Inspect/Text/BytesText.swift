/// Keys and values as text that shows every byte.
public enum BytesText {
    private static let digits = Array("0123456789abcdef".utf8)

    /// Printable ASCII as it is; every other byte, and the backslash, as `\xNN`. `parse` reads it back.
    public static func escaped(_ bytes: some Sequence<UInt8>) -> String {
        var text: [UInt8] = []
        for byte in bytes {
            if byte >= 0x20, byte < 0x7f, byte != UInt8(ascii: "\\") {
                text.append(byte)
            } else {
                text += [UInt8(ascii: "\\"), UInt8(ascii: "x"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: text, as: UTF8.self)
    }

    /// Two digits a byte.
    public static func hex(_ bytes: some Sequence<UInt8>) -> String {
        var text: [UInt8] = []
        for byte in bytes { text += [digits[Int(byte >> 4)], digits[Int(byte & 15)]] }
        return String(decoding: text, as: UTF8.self)
    }

    /// Reads `\xNN`; everything else stands for itself, in UTF-8.
    public static func parse(_ text: String) -> [UInt8] {
        let all = Array(text.utf8)
        var bytes: [UInt8] = []
        var at = 0
        while at < all.count {
            if all[at] == UInt8(ascii: "\\"), at + 3 < all.count, all[at + 1] == UInt8(ascii: "x"),
                let high = digit(all[at + 2]), let low = digit(all[at + 3])
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
            guard let high = digit(all[at]), let low = digit(all[at + 1]) else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }

    private static func digit(_ character: UInt8) -> UInt8? {
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
