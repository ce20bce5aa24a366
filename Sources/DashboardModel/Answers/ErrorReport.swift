/// A request that was not carried out: `{"error": {"code": …, "message": …}}`.
public struct ErrorReport: Encodable, Sendable, Equatable {
    public enum Code: String, Encodable, Sendable, CaseIterable {
        case badRequest = "bad-request"
        case forbidden
        case notFound = "not-found"
        case methodNotAllowed = "method-not-allowed"
        case conflict
        case misdirected
        case unavailable
        case tooLarge = "too-large"
        case outcomeUnknown = "outcome-unknown"
        /// A defect, or damaged data.
        case `internal`

        /// Of HTTP.
        public var status: Int {
            switch self {
            case .badRequest: 400
            case .forbidden: 403
            case .notFound: 404
            case .methodNotAllowed: 405
            case .conflict: 409
            case .tooLarge: 413
            case .misdirected: 421
            case .unavailable: 503
            case .outcomeUnknown: 504
            case .internal: 500
            }
        }
    }

    public struct Body: Encodable, Sendable, Equatable {
        public var code: Code
        /// Names the thing and the remedy, in one line.
        public var message: String
    }

    public var error: Body

    public init(_ code: Code, _ message: String) { error = Body(code: code, message: message) }
}
