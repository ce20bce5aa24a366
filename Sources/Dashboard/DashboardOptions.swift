public import Keyspace

/// What a dashboard is told when it starts.
public struct DashboardOptions: Sendable {
    public var listen: Address
    /// The controllers' addresses.
    public var controllers: [String]
    /// Between two looks at the cluster.
    public var interval: Duration
    /// Whether pages may change the cluster.
    public var allowActions: Bool
    /// Names, besides addresses and this machine's own name, under which browsers may ask.
    public var hosts: [String]

    public init(
        listen: Address, controllers: [String], interval: Duration = .seconds(5), allowActions: Bool = false,
        hosts: [String] = []
    ) {
        self.listen = listen
        self.controllers = controllers
        self.interval = interval
        self.allowActions = allowActions
        self.hosts = hosts
    }
}
