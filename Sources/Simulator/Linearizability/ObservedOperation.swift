package import Keyspace

/// One operation on one key, as whoever asked for it saw it.
package struct ObservedOperation: Sendable {
    package enum Call: Sendable, Equatable {
        case get
        case write(KeyOperation)
    }

    package enum Outcome: Sendable, Equatable {
        /// `nil`: the key is absent.
        case value([UInt8]?)
        case written(KeyReply)
        /// It may take effect at any time after it began, or never. (What is known to have done nothing is no part of a
        /// history.)
        case unknown
    }

    /// Names it in sentences.
    package var id: Int
    package var call: Call
    /// Moments that are all different and in the order in which things happened; their distance means nothing.
    package var began: UInt64
    /// Without a meaning if the outcome is unknown.
    package var ended: UInt64
    package var outcome: Outcome
    /// When it was done at the latest, as far as anybody knows: which order is tried first.
    package var hint: UInt64

    package init(
        _ id: Int, _ call: Call, began: UInt64, ended: UInt64 = .max, _ outcome: Outcome = .unknown, hint: UInt64 = .max
    ) {
        self.id = id
        self.call = call
        self.began = began
        self.ended = outcome == .unknown ? .max : ended
        self.outcome = outcome
        self.hint = min(hint, self.ended)
    }

    /// It has changed nothing, by its own answer, whenever it was done.
    var isIdle: Bool {
        switch outcome {
        case .value, .written(.deleted(existed: false)), .written(.compared(succeeded: false)): true
        case .written, .unknown: false
        }
    }
}
