public import Keyspace

/// Takes answers. Never blocks; any thread may call it, any number of times.
public protocol ResponseSink: Sendable {
    func send(_ responses: [KvResponse])
    /// So many answers wait already that no more should be made for now: reads answer "busy" instead.
    var isFull: Bool { get }
}

extension ResponseSink {
    public var isFull: Bool { false }
}

/// What a door hands requests to, whatever protocol brought them. Every request is answered exactly once, in any order.
public protocol KvHandler: Sendable {
    func handle(_ requests: [KvRequest], reply: any ResponseSink)
}
