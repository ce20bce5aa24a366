internal import Foundation

extension KeyedEncodingContainer where Key == BytesKey {
    /// As text if the bytes are UTF-8, else in Base64 under the name with `Base64` behind it; nothing for `nil`.
    mutating func encodeBytes(_ bytes: [UInt8]?, _ name: String) throws {
        guard let bytes else { return }
        if let text = String(validating: bytes, as: UTF8.self) {
            try encode(text, forKey: BytesKey(name))
        } else {
            try encode(Data(bytes).base64EncodedString(), forKey: BytesKey(name + "Base64"))
        }
    }

    mutating func encode(_ value: (some Encodable)?, _ name: String) throws {
        try encodeIfPresent(value, forKey: BytesKey(name))
    }
}
