internal import Dispatch
internal import Glibc

/// What asks this process to end (SIGINT, SIGTERM, SIGHUP), heard so that it can tidy up or say how far it has come.
package final class SignalWatch {
    private static let numbers: [Int32] = [SIGINT, SIGTERM, SIGHUP]
    private var sources: [any DispatchSourceSignal] = []

    /// - Parameter heard: gets the signal's number, on a thread of the system's.
    package init(_ heard: @escaping @Sendable (Int32) -> Void) {
        for number in Self.numbers {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            source.setEventHandler { heard(number) }
            source.resume()
            sources.append(source)
        }
    }

    /// From now on they end the process at once, as ever.
    package func end() {
        for source in sources { source.cancel() }
        for number in Self.numbers { signal(number, SIG_DFL) }
    }
}
