public import Keyspace

/// One look at the whole cluster: what the controller and every node answered at about one time.
public struct Observation: Sendable, Equatable {
    public enum ConfigResult: Sendable, Equatable {
        case answered(HeldMap)
        /// Why there was no answer, for people.
        case failed(String)
    }

    /// Unix milliseconds.
    public var at: UInt64
    public var config: ConfigResult
    /// The controller's nodes (gid 0) and those of all groups. What is in no group of the config is ignored.
    public var nodes: [NodeObservation]

    public init(at: UInt64, config: ConfigResult, nodes: [NodeObservation]) {
        self.at = at
        self.config = config
        self.nodes = nodes
    }
}

/// One node that was asked.
public struct NodeObservation: Sendable, Equatable {
    public enum Result: Sendable, Equatable {
        case answered(NodeStatus)
        /// Why there was no answer, for people.
        case failed(String)
    }

    public var gid: GroupID
    /// The place in the list of the group's addresses: the node's id for as long as nothing better is known. (After a
    /// change of members the two differ.)
    public var id: UInt64
    /// Where it was asked: one node of a group is told from another by this.
    public var address: String
    public var result: Result

    public init(gid: GroupID, id: UInt64, address: String, result: Result) {
        self.gid = gid
        self.id = id
        self.address = address
        self.result = result
    }
}
