internal import Foundation
internal import Synchronization

/// The directory of a run. What the run made is removed at its end, also when a signal ends it.
final class WorkPlace {
    let path: String
    /// A directory that was there before stays.
    private let existed: Bool
    private var signals: [any DispatchSourceSignal] = []
    private let isEnding = Atomic<Bool>(false)
    private static let removalsMax = 100

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

    private var isClear: Bool {
        ((try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []).isEmpty
    }

    /// Never returns once a signal is ending the run: the processes that it ends look like failures meanwhile.
    func waitIfEnding() {
        while isEnding.load(ordering: .relaxed) { sleep(1) }
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
            place.isEnding.store(true, ordering: .relaxed)
            for process in processes { kill(process, SIGKILL) }
            // A process that is still dying may make another file.
            for _ in 0..<WorkPlace.removalsMax {
                place.remove()
                if place.isClear { break }
                usleep(20_000)
            }
            _exit(code)
        }
    }
}
