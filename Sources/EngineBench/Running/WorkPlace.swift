internal import Foundation

/// The directory of a run. What the run made is removed at its end, also when a signal ends it.
final class WorkPlace {
    let path: String
    /// A directory that was there before stays.
    private let existed: Bool
    private var signals: [any DispatchSourceSignal] = []

    init(_ given: String?) throws {
        if let given {
            path = given
            existed = FileManager.default.fileExists(atPath: given)
            try makeDirectory(given)
        } else {
            path = FileManager.default.temporaryDirectory.appendingPathComponent("flotilla-bench-\(getpid())").path
            existed = false
            try makeDirectory(path)
        }
    }

    func remove() {
        if existed {
            for name in (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? [] {
                removeDirectory("\(path)/\(name)")
            }
        } else {
            removeDirectory(path)
        }
    }

    /// On SIGINT and SIGTERM: ends these processes, removes the directory and exits.
    func ended(by processes: [Int32]) {
        for number in [SIGINT, SIGTERM] {
            signal(number, SIG_IGN)
            let source = DispatchSource.makeSignalSource(signal: number, queue: .global())
            let cleanUp = CleanUp(place: self, processes: processes, code: 128 + number)
            source.setEventHandler { cleanUp.run() }
            source.resume()
            signals.append(source)
        }
    }

    private struct CleanUp: @unchecked Sendable {
        let place: WorkPlace
        let processes: [Int32]
        let code: Int32

        func run() {
            for process in processes { kill(process, SIGKILL) }
            usleep(50_000)
            place.remove()
            _exit(code)
        }
    }
}
