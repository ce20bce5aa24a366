internal import Foundation

/// What a client asks. A value, so that whoever answers can be tested without a socket.
public struct HTTPQuestion: Sendable {
    /// In capitals.
    public var method: String
    /// Decoded, without the query; begins with "/".
    public var path: String
    public var query: [(name: String, value: String)]
    /// Names in lower case.
    public var headers: [String: String]
    public var body: [UInt8]

    public init(
        _ method: String, _ path: String, query: [(name: String, value: String)] = [],
        headers: [String: String] = [:], body: [UInt8] = []
    ) {
        self.method = method
        self.path = path
        self.query = query
        self.headers = headers
        self.body = body
    }

    /// Reads what stands in a request line: "/path?name=value". `nil` if it can't be decoded.
    public init?(method: String, target: String, headers: [String: String], body: [UInt8]) {
        let parts = target.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        guard let path = parts.first.flatMap({ String($0).removingPercentEncoding }), path.hasPrefix("/") else {
            return nil
        }
        var query: [(name: String, value: String)] = []
        for field in parts.count > 1 ? parts[1].split(separator: "&") : [] {
            let pair = field.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map {
                $0.replacing("+", with: " ").removingPercentEncoding
            }
            guard let name = pair[0], let value = pair.count > 1 ? pair[1] : "" else { return nil }
            query.append((name, value))
        }
        self.init(method, path, query: query, headers: headers, body: body)
    }

    /// The first value under a name.
    public func parameter(_ name: String) -> String? { query.first { $0.name == name }?.value }
}

/// What a client gets.
public struct HTTPAnswer: Sendable {
    public enum Body: Sendable {
        case bytes([UInt8])
        /// Pieces as they come; ends early if the client goes.
        case pieces(AsyncStream<[UInt8]>)
    }

    public var status: Int
    public var headers: [(name: String, value: String)]
    public var body: Body

    public init(_ status: Int, type: String, headers: [(name: String, value: String)] = [], body: Body) {
        self.status = status
        self.headers = [("Content-Type", type)] + headers
        self.body = body
    }

    public static func text(_ status: Int, _ text: String, type: String = "text/plain; charset=utf-8") -> HTTPAnswer {
        HTTPAnswer(status, type: type, body: .bytes(Array(text.utf8)))
    }
}
