extension Collection<UInt8> {
    /// Base64 with padding (RFC 4648, section 4), without Foundation: pure rooms speak JSON too.
    public var base64: String {
        let digits = Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        var text: [UInt8] = []
        text.reserveCapacity((count + 2) / 3 * 4)
        // What has not been written yet, and how many bits it has.
        var (rest, bits): (UInt32, UInt32) = (0, 0)
        for byte in self {
            rest = rest << 8 | UInt32(byte)
            bits += 8
            while bits >= 6 {
                bits -= 6
                text.append(digits[Int(rest >> bits & 63)])
            }
            rest &= 1 << bits - 1
        }
        if bits > 0 { text.append(digits[Int(rest << (6 - bits) & 63)]) }
        while text.count % 4 != 0 { text.append(UInt8(ascii: "=")) }
        return String(decoding: text, as: UTF8.self)
    }
}
