internal import ClientCore
internal import Keyspace

/// A client program: the state that its operations share, and those that are under way.
final class WorldClient {
    struct Operation {
        enum Kind {
            case get(key: [UInt8])
            case write(key: [UInt8], KeyOperation)
            case close(ShardID, token: [UInt8])
        }

        var kind: Kind
        var call: KvCall
        /// Answers to earlier attempts are void.
        var attempt = 0
        var isAsking = false
        /// An attempt has had no answer.
        var wasLost = false
    }

    /// One stream of requests to a node: `SessionStream` without tasks.
    struct Stream {
        let number: UInt64
        var window = SessionWindow<Waiter>()
        var queue: [KvRequest] = []
        var isSending = false
        /// When time is told; 0: it isn't to be.
        var alarm: UInt64 = 0
    }

    /// Whoever waits for an answer: an attempt of an operation.
    struct Waiter {
        var operation: Int
        var attempt: Int
    }

    let number: Int
    let name: String
    let place: World.Place
    let life: UInt64
    /// How far its clock is ahead of the true time, in milliseconds.
    var clockOffset: Int64
    var state: ClientState
    var controllers: ControllerState
    var operations: [Int: Operation] = [:]
    /// By the addresses of nodes.
    var streams: [String: Stream] = [:]
    /// What it has seen last of each key, to compare with.
    var seen: [Int: [UInt8]] = [:]

    init(
        number: Int, life: UInt64, clockOffset: Int64, state: ClientState, controllers: ControllerState
    ) {
        self.number = number
        name = "k\(number)"
        place = World.place(ofClient: number)
        self.life = life
        self.clockOffset = clockOffset
        self.state = state
        self.controllers = controllers
    }
}
