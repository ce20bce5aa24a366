internal import Admission
public import Engines
public import Keyspace
internal import RaftLog

/// What a node is told when it starts.
public struct ServeOptions: Sendable {
    /// The node's number: its place in `cluster`.
    public var id: UInt64
    /// The group; 0 for the controller.
    public var gid: GroupID
    /// Addresses of the group's nodes, by number.
    public var cluster: [String]
    /// Addresses of the controller's nodes (groups only).
    public var controllers: [String]
    public var directory: String
    public var engine: EngineKind
    /// Where to listen; `nil`: the node's own address in `cluster`.
    public var listen: String?
    /// Shards of a new cluster (controller only).
    public var shardCount: Int
    public var retainedEntries: UInt64
    /// Where to serve metrics and health over HTTP, on the address of `listen`; 0: the system chooses; `nil`: nowhere.
    public var httpPort: Int?
    /// What may be held for clients and peers at once, in MiB; `nil`: a share of the machine's memory.
    public var memoryBudgetMebibytes: Int?
    /// What one transfer of a shard or a snapshot to this node may take, in MiB a second; `nil`: what it can.
    public var moveRateMebibytes: Int?

    public init(
        id: UInt64, gid: GroupID, cluster: [String], controllers: [String], directory: String, engine: EngineKind,
        listen: String? = nil, shardCount: Int = 64, retainedEntries: UInt64 = 10_000, httpPort: Int? = nil,
        memoryBudgetMebibytes: Int? = nil, moveRateMebibytes: Int? = nil
    ) {
        self.id = id
        self.gid = gid
        self.cluster = cluster
        self.controllers = controllers
        self.directory = directory
        self.engine = engine
        self.listen = listen
        self.shardCount = shardCount
        self.retainedEntries = retainedEntries
        self.httpPort = httpPort
        self.memoryBudgetMebibytes = memoryBudgetMebibytes
        self.moveRateMebibytes = moveRateMebibytes
    }

    /// In MiB: below, the largest messages don't fit; above, it is a mistake.
    public static let memoryBudgetRange = (MemoryBudget.bytesMin >> 20)...(1 << 20)

    /// In MiB a second.
    public static let moveRateRange = 1...(1 << 20)

    /// In bytes a second.
    var moveRate: UInt64? { moveRateMebibytes.map { UInt64($0) << 20 } }

    var memoryBudget: MemoryBudget { MemoryBudget(bytes: memoryBudgetMebibytes.map { $0 << 20 }) }

    public var isController: Bool { gid == .controller }
    public var role: String { isController ? "controller" : "group" }
    public var address: String { cluster.indices.contains(Int(id)) ? cluster[Int(id)] : "" }
}

/// Why a node can't start, with the exit code of the program.
public struct ServeError: Error, CustomStringConvertible, Sendable {
    public var description: String
    public var exitCode: Int32

    public init(_ description: String, exitCode: Int32 = 1) {
        self.description = description
        self.exitCode = exitCode
    }
}

extension ServeOptions {
    /// For clients and members, and for HTTP if it is served.
    func addressesToListenOn() throws(ServeError) -> [Address] {
        let endpoint = try validated()
        return [endpoint] + (httpPort.map { [Address(host: endpoint.host, port: $0)] } ?? [])
    }

    /// Checks what can be checked without touching anything.
    public func validated() throws(ServeError) -> Address {
        guard !cluster.isEmpty else {
            throw ServeError("-cluster names no node; give HOST:PORT,HOST:PORT,…", exitCode: 64)
        }
        for address in cluster + controllers where Address(toCall: address) == nil {
            throw ServeError("\"\(address)\" is not an address; give HOST:PORT", exitCode: 64)
        }
        guard Set(cluster).count == cluster.count else {
            throw ServeError("-cluster names an address twice: \(cluster.joined(separator: ","))", exitCode: 64)
        }
        guard id < UInt64(cluster.count) else {
            throw ServeError(
                "-id \(id) is not in -cluster, which names nodes 0 to \(cluster.count - 1)", exitCode: 64)
        }
        if !isController, controllers.isEmpty {
            throw ServeError("-ctrlers names no controller; give HOST:PORT,HOST:PORT,…", exitCode: 64)
        }
        if directory.isEmpty { throw ServeError("-db names no directory", exitCode: 64) }
        if !(1...1024).contains(shardCount) {
            throw ServeError("--shards \(shardCount) is out of range; give 1 to 1024", exitCode: 64)
        }
        if let httpPort, !(0...65_535).contains(httpPort) {
            throw ServeError("--http-port \(httpPort) is out of range; give 0 to 65535", exitCode: 64)
        }
        if let given = memoryBudgetMebibytes, !Self.memoryBudgetRange.contains(given) {
            let range = Self.memoryBudgetRange
            throw ServeError(
                "--memory-budget \(given) is out of range; give \(range.lowerBound) to \(range.upperBound) MiB",
                exitCode: 64)
        }
        if let given = moveRateMebibytes, !Self.moveRateRange.contains(given) {
            let range = Self.moveRateRange
            throw ServeError(
                "--move-rate \(given): give MiB a second, \(range.lowerBound) to \(range.upperBound)", exitCode: 64)
        }
        let text = listen ?? address
        guard let endpoint = Address(text) else {
            throw ServeError("\"\(text)\" is not an address to listen on; give HOST:PORT", exitCode: 64)
        }
        guard endpoint.isIPv4 else {
            throw ServeError(
                "\"\(endpoint.host)\" is a name, and the node must know which address to listen on; give --listen IP:PORT",
                exitCode: 64)
        }
        return endpoint
    }
}
