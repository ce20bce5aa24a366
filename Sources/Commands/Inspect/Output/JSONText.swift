internal import CommandSupport
internal import Foundation

/// JSON as the commands print it.
enum JSONText {
    /// An object over several lines.
    static func pretty(_ value: some Encodable) throws -> String {
        try encode(value, isPretty: true)
    }

    /// An object on one line.
    static func line(_ value: some Encodable) throws -> String {
        try encode(value, isPretty: false)
    }

    private static func encode(_ value: some Encodable, isPretty: Bool) throws -> String {
        do { return try jsonText(value, isPretty: isPretty) } catch {
            throw Failure("encoding JSON: \(error)")
        }
    }

    /// `"name":"text"`, or `"nameBase64":"…"` for bytes that are not UTF-8; straight into a buffer, for lines by the
    /// million.
    static func append(_ name: String, _ bytes: UnsafeRawBufferPointer, to buffer: inout [UInt8]) {
        buffer.append(UInt8(ascii: "\""))
        buffer.append(contentsOf: name.utf8)
        guard String(validating: bytes, as: UTF8.self) != nil else {
            buffer.append(contentsOf: "Base64\":\"".utf8)
            buffer.append(contentsOf: Data(bytes).base64EncodedString().utf8)
            buffer.append(UInt8(ascii: "\""))
            return
        }
        buffer.append(contentsOf: "\":\"".utf8)
        let digits = Array("0123456789abcdef".utf8)
        for byte in bytes {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): buffer += [UInt8(ascii: "\\"), byte]
            case 0x0a: buffer.append(contentsOf: "\\n".utf8)
            case 0x0d: buffer.append(contentsOf: "\\r".utf8)
            case 0x09: buffer.append(contentsOf: "\\t".utf8)
            case 0..<0x20, 0x7f:
                buffer.append(contentsOf: "\\u00".utf8)
                buffer += [digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            default: buffer.append(byte)
            }
        }
        buffer.append(UInt8(ascii: "\""))
    }
}
