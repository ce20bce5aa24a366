internal import Dispatch
internal import Glibc

/// What asks this process to end (SIGINT, SIGTERM, SIGHUP), heard so that it can tidy up or say how far it has come.
package final class SignalWatch {
    private static let numbers: [Int32] = [SIGINT, SIGTERM, SIGHUP]
    /// SIG_IGN, as a number.
    private static let ignored = 1
    private var watched: [Int32] = []
    private var sources: [any DispatchSourceSignal] = []

    /// - Parameter heard: gets the signal's number, on a thread of the system's.
    package init(_ heard: @escaping @Sendable (Int32) -> Void) {
        for number in Self.numbers {
            var before = sigaction()
            sigaction(number, nil, &before)
            // Whoever started us wants it ignored, as nohup does.
            if unsafeBitCast(before.__sigaction_handler.sa_handler, to: Int.self) == Self.ignored { continue }
            watched.append(number)
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
        for number in watched { signal(number, SIG_DFL) }
    }
}
