internal import Engines

/// Why a run can't go on, in one sentence that names the engine and the step.
struct BenchError: Error, CustomStringConvertible, Equatable {
    var description: String

    init(_ description: String) { self.description = description }

    /// The error of the last system call.
    static func system(_ place: String) -> BenchError { BenchError("\(place): \(systemErrorText())") }
}
