public import NIOCore
internal import Synchronization

/// Lets connections into one listener, and shows out those that somebody else needs the place of. The decisions are
/// `ConnectionTable`'s.
public final class ConnectionGate: Sendable {
    private struct State {
        var table: ConnectionTable
        var channels: [ConnectionTable.Number: any Channel] = [:]
        var numbers: [ObjectIdentifier: ConnectionTable.Number] = [:]
        var turnedAway: UInt64 = 0
    }

    /// Who has knocked and not been let in yet: the system keeps them.
    static let backlog: Int32 = 1_024

    private let state: Mutex<State>

    public init(countMax: Int, addressMax: Int? = nil) {
        state = Mutex(State(table: ConnectionTable(countMax: countMax, addressMax: addressMax)))
    }

    /// Connections that are open.
    public var count: Int { state.withLock { $0.table.count } }
    /// Connections that were refused, or closed to make room, since the start.
    public var turnedAway: UInt64 { state.withLock { $0.turnedAway } }

    /// False: it must be closed.
    package func admit(_ channel: any Channel) -> Bool {
        let address = channel.remoteAddress?.ipAddress ?? ""
        let id = ObjectIdentifier(channel)
        let (number, victim) = state.withLock { state -> (ConnectionTable.Number?, (any Channel)?) in
            switch state.table.open(from: address) {
            case .refused:
                state.turnedAway += 1
                return (nil, nil)
            case .admitted(let number):
                state.channels[number] = channel
                state.numbers[id] = number
                return (number, nil)
            case .replaced(let number, let victim):
                state.turnedAway += 1
                state.channels[number] = channel
                state.numbers[id] = number
                return (number, state.channels.removeValue(forKey: victim))
            }
        }
        // After its set-up, which its loop has been given before: a connection that closes in the middle of that ends the
        // listener.
        if let victim { victim.eventLoop.execute { victim.close(promise: nil) } }
        guard let number else { return false }
        channel.closeFuture.whenComplete { [self] _ in
            state.withLock { state in
                state.table.close(number)
                state.channels[number] = nil
                // The address of what is gone may be somebody else's by now.
                if state.numbers[id] == number { state.numbers[id] = nil }
            }
        }
        return true
    }

    /// Under which number a connection was let in; `nil` if it is gone.
    public func number(of channel: any Channel) -> ConnectionTable.Number? {
        let id = ObjectIdentifier(channel)
        return state.withLock { $0.numbers[id] }
    }

    /// Closes a connection: it holds what others need.
    public func showOut(_ number: ConnectionTable.Number) {
        let channel = state.withLock { state -> (any Channel)? in
            guard let channel = state.channels[number] else { return nil }
            state.turnedAway += 1
            return channel
        }
        channel?.close(promise: nil)
    }

    /// A request has come over a connection, or a stream has been opened on it.
    public func begin(_ number: ConnectionTable.Number) { state.withLock { $0.table.begin(number) } }

    public func end(_ number: ConnectionTable.Number) { state.withLock { $0.table.end(number) } }
}
