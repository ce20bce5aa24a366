internal import Client
internal import DashboardModel
internal import Foundation
internal import HTTPService

/// A request that can't be answered as asked; see `docs/dashboard.md`, "Errors".
struct APIError: Error {
    var code: ErrorReport.Code
    var message: String
    /// The methods that would do.
    var allowed: [String] = []

    init(_ code: ErrorReport.Code, _ message: String, allowed: [String] = []) {
        self.code = code
        self.message = message
        self.allowed = allowed
    }

    init(_ error: ClientError) {
        let code: ErrorReport.Code =
            switch error.code {
            case .invalidArgument: .badRequest
            case .notFound: .notFound
            case .failedPrecondition, .noSpace: .conflict
            case .unavailable: .unavailable
            case .outcomeUnknown: .outcomeUnknown
            case .internal: .internal
            }
        self.init(code, error.message)
    }
}

extension HTTPAnswer {
    /// What every answer says to browsers: run only what comes from here, show nothing of it elsewhere, keep nothing.
    private static let guards: [(name: String, value: String)] = [
        (
            "Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
                + "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        ),
        ("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Resource-Policy", "same-origin"), ("Cache-Control", "no-store"),
    ]

    static let jsonType = "application/json; charset=utf-8"

    static func guarded(
        _ status: Int, type: String, headers: [(name: String, value: String)] = [], _ body: Body
    ) -> HTTPAnswer {
        HTTPAnswer(status, type: type, headers: guards + headers, body: body)
    }

    static func json(_ status: Int, _ value: some Encodable, headers: [(name: String, value: String)] = [])
        -> HTTPAnswer
    {
        do { return guarded(status, type: jsonType, headers: headers, .bytes(try encoded(value))) } catch {
            return guarded(500, type: "text/plain; charset=utf-8", .bytes(Array("can't encode: \(error)\n".utf8)))
        }
    }

    static func encoded(_ value: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        // Sorted: the same state gives the same bytes.
        encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
        return Array(try encoder.encode(value))
    }

    static func failure(_ error: APIError) -> HTTPAnswer {
        let allow = error.allowed.isEmpty ? [] : [(name: "Allow", value: error.allowed.joined(separator: ", "))]
        return json(error.code.status, ErrorReport(error.code, error.message), headers: allow)
    }
}
