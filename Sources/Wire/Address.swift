/// A place to connect to or to listen on: HOST:PORT.
public struct Address: Hashable, Sendable, CustomStringConvertible {
    public var host: String
    public var port: Int

    public init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// Reads HOST:PORT; `nil` if it isn't one.
    public init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"), let port = Int(text[text.index(after: colon)...]),
            (0...65_535).contains(port)
        else { return nil }
        var host = String(text[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") { host = String(host.dropFirst().dropLast()) }
        guard !host.isEmpty, !host.contains(" ") else { return nil }
        self.init(host: host, port: port)
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
