internal import Engines
internal import RaftLog

/// A machine whose every answer is seen: whoever proposed a command may be gone, but what replicas make of an entry must
/// be the same on all of them.
struct ObservedMachine<Inner: StateMachine>: StateMachine where Inner.Reply: Equatable {
    private(set) var inner: Inner
    /// Of the commands since the last `flush` but one.
    private(set) var replies: [(index: LogIndex, reply: Inner.Reply)] = []
    private var isFlushed = false

    init(_ inner: Inner) { self.inner = inner }

    mutating func load(in context: inout ApplyContext) throws(EngineError) { try inner.load(in: &context) }

    mutating func apply(_ entry: Entry, in context: inout ApplyContext) throws(EngineError) -> Inner.Reply {
        if isFlushed {
            replies.removeAll(keepingCapacity: true)
            isFlushed = false
        }
        let reply = try inner.apply(entry, in: &context)
        if context.waitsFor == nil { replies.append((entry.index, reply)) }
        return reply
    }

    mutating func flush(in context: inout ApplyContext) throws(EngineError) {
        isFlushed = true
        try inner.flush(in: &context)
    }
}
