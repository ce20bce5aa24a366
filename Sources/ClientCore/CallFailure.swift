/// Why an operation has no result, as the cores say it.
package struct CallFailure: Error, Sendable, Equatable {
    package enum Code: Sendable, Equatable {
        /// The request can't be carried out as it is. It was never sent, or everybody who got it has refused it.
        case invalidArgument
        /// Nobody who could answer was reached in time, and nothing was done.
        case unavailable
        /// The request may or may not have been carried out, or may still be.
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

    package var code: Code
    /// One sentence for people.
    package var message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }
}
