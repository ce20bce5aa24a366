public import Engines

/// What a group replicates: a deterministic machine over the families of its group.
///
/// The machine's state is on disk. `apply` reads and writes only through its context, which overlays the
/// engine's state with everything that the same batch has written so far; two entries that touch one key in
/// one batch both count. Position, log time and membership are written into the same batch by `GroupStorage`.
///
/// A machine may cache rows in memory. What it caches is a function of what it has read and written through
/// contexts; `load` starts anew (after opening and after a snapshot).
public protocol StateMachine: Sendable {
    associatedtype Reply: Sendable

    /// Forgets every cache and reads again what it needs.
    mutating func load(in context: inout ApplyContext) throws(EngineError)

    /// Executes one command. Everything that differs between replicas (clocks, random numbers, the engine's
    /// kind) is out of bounds; `context.logTime` is the only time there is.
    mutating func apply(_ entry: Entry, in context: inout ApplyContext) throws(EngineError) -> Reply

    /// The end of a batch: writes back what was cached.
    mutating func flush(in context: inout ApplyContext) throws(EngineError)
}

extension StateMachine {
    public mutating func flush(in context: inout ApplyContext) throws(EngineError) {}
}
