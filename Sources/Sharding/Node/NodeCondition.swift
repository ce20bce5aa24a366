public import Keyspace
public import RaftLog

/// Why a node doesn't take part in its group. (The sentence is for people: in `status`, in `/readyz` and in errors.)
public enum NodeCondition: Sendable, Equatable {
    /// Its directory is being read, or the controller asked which cluster it is of.
    case starting
    /// A group's first start needs to know which cluster it is of.
    case awaitsController([String])
    /// The first start of a group needs every node that it was founded with.
    case awaitsFounders([Founder])
    /// A founder answers, and can't be who was meant.
    case founderIsAnother(id: UInt64, address: String, expected: ReplicaID)
    case founderHasAnotherList(ReplicaID, theirs: [String], own: [String])
    /// It is no founder of the group: its disk was lost, or it is new. The command makes it a member.
    case awaitsMembership(command: String)
    /// Its group looks for it at another address.
    case movedAway(known: String, own: String, command: String)
    /// The shard map knows the group by founders whose disks are gone, all of them.
    case foundedAnew(GroupID)

    public struct Founder: Sendable, Equatable, CustomStringConvertible {
        public var id: ReplicaID
        public var address: String
        public var description: String { "\(id) (\(address))" }
    }

    public var sentence: String {
        switch self {
        case .starting: "starting"
        case .awaitsController(let addresses): "waiting for the controller at \(addresses.joined(separator: ", "))"
        case .awaitsFounders(let founders):
            "waiting for node \(founders.map { "\($0)" }.joined(separator: ", "))"
        case .founderIsAnother(let id, let address, let expected):
            "node \(id) answers at \(address), where -cluster has node \(expected)"
        case .founderHasAnotherList(let peer, let theirs, let own):
            "node \(peer) was started with -cluster \(theirs.joined(separator: ",")), this one with "
                + "\(own.joined(separator: ",")); start all nodes with the same list"
        case .awaitsMembership(let command):
            "this directory is not the one that founded the group (its disk was lost, or the node is new); "
                + "it takes no part until it is made a member: \(command)"
        case .movedAway(let known, let own, let command):
            "the group knows this node at \(known), and it was started at \(own): the others don't find it; start it there, "
                + "or say where it is: \(command)"
        case .foundedAnew(let gid):
            "group \(gid) was founded anew, and the shard map knows it by disks that are gone: what was acknowledged on "
                + "them is lost, so it serves nothing; restore the cluster from a backup, or give the data up with "
                + "`flotilla controller give-up \(gid) --lose-data`"
        }
    }
}
