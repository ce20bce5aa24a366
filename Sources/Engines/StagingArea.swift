internal import Synchronization

/// The one owner of a node's files on their way: exports until they are read, transfers until they are loaded. What is
/// left in it belongs to nobody, and goes when the directory is opened the next time.
public final class StagingArea: Sendable {
    public let path: String
    private let serial = Atomic<UInt64>(0)

    public init(_ path: String) { self.path = path }

    /// A new, empty directory, which nobody else is given while the process lives.
    public func make(_ kind: String) throws(EngineError) -> String {
        let directory = "\(path)/\(kind)-\(serial.add(1, ordering: .relaxed).newValue)"
        try makeDirectories(directory, isPassing: true)
        return directory
    }

    /// Removes a directory of `make` with everything in it; what can't be removed stays for the next start.
    public func remove(_ directory: String) { removeTree(directory, itself: true) }
}
