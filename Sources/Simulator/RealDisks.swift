internal import Engines

/// Real engines in directories: slower, and what was written survives every crash.
public struct RealDisks: Sendable, Codable {
    var engine: EngineKind
    var path: String

    /// - Parameters:
    ///   - engine: rocksdb, lmdb or sqlite.
    ///   - path: a directory, in which nodes get directories of their own for the time of a run.
    public init?(engine: String, path: String) {
        guard let kind = EngineKind(rawValue: engine), kind != .memory else { return nil }
        self.engine = kind
        self.path = path
    }
}
