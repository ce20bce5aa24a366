internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

extension Node where Machine == ControllerMachine {
    /// The hold on moves, as this node knows it.
    func hold() throws -> MoveHold? {
        let snapshot = try engine.snapshot()
        defer { snapshot.close() }
        return try ControllerMachine.hold(layout: layout, in: snapshot)
    }
}
