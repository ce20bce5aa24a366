/// Where keys are put: a live cluster, or a test's stand-in for one.
package protocol KeyDestination: Sendable {
    /// The cluster's id in 32 hexadecimal digits.
    func clusterID() async throws(DestinationError) -> String
    /// The first key that begins with a prefix; `nil` if there is none.
    func firstKey(withPrefix prefix: [UInt8]) async throws(DestinationError) -> [UInt8]?
    func put(_ key: [UInt8], _ value: [UInt8]) async throws(DestinationError)
    /// Returns whether the key was absent, and is there now.
    func putIfAbsent(_ key: [UInt8], _ value: [UInt8]) async throws(DestinationError) -> Bool
}

/// Why a destination didn't do what it was asked to.
package struct DestinationError: Error, Sendable, Equatable {
    package enum Code: Sendable {
        /// No node answers, or none leads; this may pass. A write may have been executed all the same.
        case unavailable
        /// The disk of a node is full; this may pass.
        case noSpace
        /// It will never be done.
        case refused
    }

    package var code: Code
    package var sentence: String

    package init(_ code: Code, _ sentence: String) {
        self.code = code
        self.sentence = sentence
    }

    var mayPass: Bool { code != .refused }
}
