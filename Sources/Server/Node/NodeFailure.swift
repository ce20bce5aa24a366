public import Engines

/// Why a node can no longer work. It says so until whoever runs it ends the process.
public enum NodeFailure: Error, Sendable, CustomStringConvertible {
    /// It never came to take part.
    case cannotStart(String)
    /// Its replica has stopped: after a failed write or sync nothing more can be promised.
    case stopped(EngineError)

    public var description: String {
        switch self {
        case .cannotStart(let why): "can't start: \(why)"
        case .stopped(let error): "stopped: \(error.description)"
        }
    }
}
