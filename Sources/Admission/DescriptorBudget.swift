/// Who gets how many of a process's file descriptors. The engine and the peers come first: a client that isn't let in
/// tries again, an engine that can't open a file stops its node. Pure.
public struct DescriptorBudget: Equatable, Sendable {
    /// What an engine keeps open at most: RocksDB's table cache has 512 files; LMDB and SQLite need a dozen.
    public static let engineMax = 512
    /// Logs, files of exports, calls and streams to peers, timers and event loops, and what the system's libraries open
    /// for a moment; libdispatch traps if it gets none.
    public static let reserve = 128
    /// More connections than this cost more memory than they are worth.
    public static let grpcMax = 4_096
    public static let httpMax = 1_024
    /// Below this a server can't be watched any more.
    public static let least = 16

    /// Connections of clients and peers to the gRPC port.
    public var grpc: Int
    /// Connections to the HTTP port.
    public var http: Int
    /// Too few for an engine at its largest and a hundred clients: people should hear of it.
    public var isTight: Bool

    public static let tightness =
        "the hard limit of open files (ulimit -Hn) is below \(engineMax + reserve + 128): the engine may run out of them; "
        + "raise it"

    /// - Parameter limit: descriptors that the process may have.
    public init(limit: Int) {
        isTight = limit < Self.engineMax + Self.reserve + 128
        let left = Self.left(of: limit, engine: Self.engineMax)
        http = min(max(left / 4, Self.least), Self.httpMax)
        grpc = min(max(left - left / 4, Self.least), Self.grpcMax)
    }

    /// Connections to the HTTP port of a process that has no engine and serves nothing else.
    public static func httpAlone(limit: Int) -> Int { min(max(left(of: limit, engine: 0), least), httpMax) }

    /// A limit that is too low for all of them is shared as well as it can be.
    private static func left(of limit: Int, engine: Int) -> Int { max(limit - engine - reserve, limit / 4) }
}
