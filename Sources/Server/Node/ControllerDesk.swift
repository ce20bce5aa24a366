internal import Engines
internal import Keyspace
internal import RaftHost
internal import RaftLog
internal import Sharding
internal import Synchronization

/// The shell of a `ControllerCore`: tells it what happens in a controller's node, and carries out what it says.
final class ControllerDesk: Sendable {
    private struct State {
        var core: ControllerCore
        var alarm: Task<Void, Never>?
        /// Who waits, by number; `nil`: has gone before it began to.
        var waiting: [UInt64: CheckedContinuation<Void, Never>?] = [:]
    }

    private let node: Node<ControllerMachine>
    private let state: Mutex<State>
    private let numbers = Atomic<UInt64>(0)

    init(node: Node<ControllerMachine>) {
        self.node = node
        state = Mutex(State(core: ControllerCore(shardCount: node.options.shardCount)))
    }

    /// From now on the replica is observed.
    func begin() {
        node.follow { [weak self] in self?.observe() }
        observe()
    }

    private func observe() {
        // Inside: what was seen first is told first.
        act { [node] core in
            let status = node.host?.status
            return core.observe(leads: status?.role == .leader && status?.hasCommittedInTerm == true)
        }
    }

    /// A command is over.
    func changed() { act { $0.changed() } }

    /// Returns when there may be a map above `newerThan` (`nil`: any), when the node doesn't lead, or at `until`.
    func waitForMap(newerThan: UInt64?, until: Milliseconds) async {
        let number = numbers.add(1, ordering: .relaxed).newValue
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isGone = state.withLock { state -> Bool in
                    if state.waiting.removeValue(forKey: number) != nil { return true }
                    state.waiting[number] = .some(continuation)
                    return false
                }
                if isGone { return continuation.resume() }
                act { $0.wait(number, newerThan: newerThan, until: until, now: HostClock.monotonic()) }
            }
        } onCancel: {
            let continuation = state.withLock { state -> CheckedContinuation<Void, Never>? in
                if let waiting = state.waiting.removeValue(forKey: number) { return waiting }
                state.waiting.updateValue(nil, forKey: number)
                return nil
            }
            continuation?.resume()
            act {
                $0.gone(number)
                return []
            }
        }
        // Cancelled after it was released.
        state.withLock { _ = $0.waiting.removeValue(forKey: number) }
    }

    private func act(_ input: (inout ControllerCore) -> [ControllerCore.Step]) {
        let steps = state.withLock { state in
            let steps = input(&state.core)
            state.alarm?.cancel()
            state.alarm = Alarm.ring(at: state.core.wakeAt) { [weak self] in
                self?.act { $0.woken(now: HostClock.monotonic()) }
            }
            return steps
        }
        for step in steps { carryOut(step) }
    }

    private func carryOut(_ step: ControllerCore.Step) {
        switch step {
        case .release(let number):
            let continuation = state.withLock { $0.waiting.removeValue(forKey: number) }
            continuation??.resume()
        case .look:
            Task {
                let layout = node.layout
                // As of all that was committed before: a new leader has not applied it yet.
                let sight = try? await node.read { try ControllerCore.Sight(layout, in: $0) }
                act { [node] core in
                    let now = HostClock.monotonic()
                    guard let sight else { return core.sawNothing(now: now) }
                    return core.looked(sight, clusterID: node.clusterID, now: now)
                }
            }
        case .propose(let command):
            Task {
                _ = try? await node.propose(command.encoded(requestID: []))
                act { $0.proposed(now: HostClock.monotonic()) }
            }
        }
    }

    func end() { state.withLock { $0.alarm?.cancel() } }
}
