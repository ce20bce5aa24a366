internal import ClientCore

/// Why an operation has no result.
public struct ClientError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Code: String, Sendable {
        /// The request can't be carried out as it is: empty or oversized key, value too large, unknown gid.
        case invalidArgument
        /// Nobody who could answer was reached in time, and nothing was done.
        case unavailable
        /// The write may or may not have been executed.
        case outcomeUnknown
        /// A precondition of an administrative request doesn't hold; nothing was changed.
        case failedPrecondition
        /// The thing asked about doesn't exist.
        case notFound
        /// The disk of a node is full; nothing was done.
        case noSpace
        /// A defect or damaged data; the message says what.
        case `internal`
    }

    public var code: Code
    public var message: String

    public init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    public var description: String { message }
}

extension ClientError {
    init(_ failure: CallFailure) {
        let code: Code =
            switch failure.code {
            case .invalidArgument: .invalidArgument
            case .unavailable: .unavailable
            case .outcomeUnknown: .outcomeUnknown
            case .failedPrecondition: .failedPrecondition
            case .notFound: .notFound
            case .noSpace: .noSpace
            case .internal: .internal
            }
        self.init(code, failure.message)
    }

    /// As the cores say it.
    var core: CallFailure {
        let code: CallFailure.Code =
            switch code {
            case .invalidArgument: .invalidArgument
            case .unavailable: .unavailable
            case .outcomeUnknown: .outcomeUnknown
            case .failedPrecondition: .failedPrecondition
            case .notFound: .notFound
            case .noSpace: .noSpace
            case .internal: .internal
            }
        return CallFailure(code, message)
    }
}
