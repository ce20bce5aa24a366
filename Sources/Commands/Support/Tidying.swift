package import Engines
internal import Glibc
internal import Synchronization

/// Runs what leaves something behind if it is killed. A signal that asks to end (SIGINT, SIGTERM, SIGHUP) has it removed
/// and ends the process, with the signal's exit code: what works on whole directories can't be stopped half-way by asking.
///
/// - Parameter discard: removes what is unfinished, from a thread of its own; false if the process is about to end by
///   itself, and is better let go on.
package func tidying<Result>(
    _ discard: @escaping @Sendable () -> Bool, _ body: () throws(EngineError) -> Result
) throws(EngineError) -> Result {
    let ending = Mutex<Void>(())
    let signals = SignalWatch { number in
        ending.withLock { _ in
            guard discard() else { return }
            note("flotilla: interrupted; nothing was kept")
            _exit(128 + number)
        }
    }
    defer { signals.end() }
    do throws(EngineError) { return try body() } catch {
        // What fails because it was taken away isn't a failure: the process ends while this waits.
        ending.withLock { _ in }
        throw error
    }
}
