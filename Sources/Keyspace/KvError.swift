/// Why a server didn't do what it was asked, and what the asker can do about it.
public struct KvError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Code: Sendable, Equatable, CaseIterable {
        /// The request can't be carried out as it is: empty or oversized key, value too large, missing field.
        case invalidArgument
        /// This node doesn't lead the group; `leader` is a hint and may be empty. Nothing was done.
        case notLeader
        /// The group has no leader that this node knows of. Nothing was done.
        case noLeader
        /// The group doesn't serve the key's shard; `config` is the newest map that it knows. Nothing was done.
        case wrongGroup
        /// The shard is being moved, or a queue is full. Nothing was done: again after `retryAfterMilliseconds`.
        case busy
        /// The session's end has passed; this write was not executed now, whether it was before is not known.
        case sessionExpired
        /// The write may or may not be executed. Repeat it in its session to learn its answer.
        case outcomeUnknown
        /// The disk is full. Nothing was done.
        case noSpace
        /// The node can't serve: storage failed, shutting down, not yet a member.
        case unavailable
        /// The thing asked about doesn't exist.
        case notFound
        /// A precondition of an administrative request doesn't hold; nothing was changed.
        case failedPrecondition
        /// A defect or damaged data; the message says what.
        case `internal`
        /// A code that this program doesn't know: its sender is newer.
        case unknown
    }

    public var code: Code
    /// One sentence for people: what is wrong, and the remedy.
    public var message: String
    /// HOST:PORT of the node that leads, as far as the sender knows; empty: it doesn't.
    public var leader: String
    /// The number of the newest shard map that the sender has heard of; 0: it says nothing.
    public var config: UInt64
    /// 0: at once, or not at all.
    public var retryAfterMilliseconds: UInt32
    /// With `sessionExpired`: the time of the group's log, in Unix milliseconds, by which a new session must end later
    /// and not too late; 0: it isn't said.
    public var logTime: UInt64

    public init(
        _ code: Code, _ message: String, leader: String = "", config: UInt64 = 0, retryAfterMilliseconds: UInt32 = 0,
        logTime: UInt64 = 0
    ) {
        self.logTime = logTime
        self.code = code
        self.message = message
        self.leader = leader
        self.config = config
        self.retryAfterMilliseconds = retryAfterMilliseconds
    }

    public var description: String { message }
}
