/// Who is in a group, as its leader has it.
public struct GroupMembers: Sendable, Equatable {
    public var members: [NodeStatus.Member]
    public var leaderID: UInt64?

    public init(members: [NodeStatus.Member], leaderID: UInt64? = nil) {
        self.members = members
        self.leaderID = leaderID
    }
}

/// A change of a group's members that somebody asks for.
public enum MemberChange: Sendable, Equatable {
    case add(id: UInt64, address: String)
    /// A wiped disk comes back, or another machine takes the place; an empty address: where it was.
    case replace(id: UInt64, address: String)
    /// The same disk is to be found elsewhere.
    case update(id: UInt64, address: String)
    /// - Parameter force: even if too few of those that are left answer to be a quorum.
    case remove(id: UInt64, force: Bool = false)
}
