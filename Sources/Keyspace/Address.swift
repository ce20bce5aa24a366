/// A place to connect to or to listen on: HOST:PORT.
public struct Address: Hashable, Sendable, CustomStringConvertible {
    public var host: String
    public var port: Int

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Reads HOST:PORT; `nil` if it isn't one, to the letter: a name of letters, digits, `-`, `_` and dots, an IPv4
    /// address, or an IPv6 address in brackets, and a port in digits. Port 0 is for listening: the system chooses.
    public init?(_ text: String) {
        guard let colon = text.utf8.lastIndex(of: UInt8(ascii: ":")) else { return nil }
        let digits = text[text.index(after: colon)...].utf8
        guard (1...5).contains(digits.count), digits.allSatisfy(Self.isDigit),
            let port = Int(text[text.index(after: colon)...]), port <= 65_535
        else { return nil }
        let host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") {
            let inner = host.dropFirst().dropLast()
            guard Self.looksLikeIPv6(inner) else { return nil }
            self.init(host: String(inner), port: port)
        } else {
            guard Self.isName(host) else { return nil }
            self.init(host: String(host), port: port)
        }
    }

    /// Reads the HOST:PORT of somebody who is to be called: port 0 is nobody's.
    public init?(toCall text: String) {
        guard let address = Address(text), address.port > 0 else { return nil }
        self = address
    }

    private static func isDigit(_ byte: UInt8) -> Bool { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) }

    /// A DNS name or an IPv4 address. RFC 1035 has no `_`, container runtimes do.
    private static func isName(_ host: Substring) -> Bool {
        guard (1...253).contains(host.utf8.count) else { return false }
        var labels = host.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        // A name may end with the root's empty label.
        if labels.count > 1, labels.last?.isEmpty == true { labels.removeLast() }
        guard
            labels.allSatisfy({ label in
                (1...63).contains(label.count)
                    && label.allSatisfy { byte in
                        isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
                            || byte == UInt8(ascii: "-") || byte == UInt8(ascii: "_")
                    }
            })
        else { return false }
        // Four numbers are an address, or a slip: 10.0.0.256 is nobody's name.
        guard labels.count == 4, labels.allSatisfy({ $0.allSatisfy(isDigit) }) else { return true }
        return labels.allSatisfy { UInt8(Substring($0)) != nil }
    }

    /// Whether the system may read it as an IPv6 address: it has the last word. A zone (`fe80::1%eth0`) may follow.
    private static func looksLikeIPv6(_ host: Substring) -> Bool {
        let parts = host.utf8.split(separator: UInt8(ascii: "%"), maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = parts.first, address.contains(UInt8(ascii: ":")),
            address.allSatisfy({ byte in
                isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte | 0x20)
                    || byte == UInt8(ascii: ":") || byte == UInt8(ascii: ".")
            })
        else { return false }
        return parts.count == 1 || (parts[1].count <= 15 && isName(Substring(parts[1])))
    }

    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }

    /// "localhost" is 127.0.0.1 here: servers bind to that, and asking the resolver may give ::1 first.
    public var numericHost: String { host == "localhost" ? "127.0.0.1" : host }

    public var isIPv4: Bool {
        let parts = numericHost.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { UInt8($0) != nil }
    }

    public var isLoopback: Bool { numericHost.hasPrefix("127.") || host == "::1" }
}
