internal import Foundation

/// A process of this program with one subject. It ends when its input does, so it never outlives the conductor.
final class WorkerProcess {
    let name: SubjectName
    private let process = Process()
    private let requests = Pipe()
    private let replies = Pipe()
    private var received: [UInt8] = []

    /// Starts the program again with the same arguments and, hidden, the subject and its directory.
    init(_ name: SubjectName, directory: String) throws {
        self.name = name
        process.executableURL = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        process.arguments = CommandLine.arguments.dropFirst() + ["--worker", "\(name)=\(directory)"]
        process.standardInput = requests
        process.standardOutput = replies
        do { try process.run() } catch { throw BenchError("a process can't be started: \(error.localizedDescription)") }
    }

    var processID: Int32 { process.processIdentifier }

    func ask(_ verb: WorkerRequest.Verb, _ cell: Cell? = nil, round: Int? = nil) throws -> RoundResult? {
        let request = WorkerRequest(verb: verb, cell: cell, round: round)
        do {
            try requests.fileHandleForWriting.write(contentsOf: try JSONEncoder().encode(request) + Data("\n".utf8))
        } catch {
            throw ended
        }
        let reply = try JSONDecoder().decode(WorkerReply.self, from: Data(try readLine()))
        if let error = reply.error { throw BenchError("\(name): \(cell?.description ?? verb.rawValue): \(error)") }
        return reply.result
    }

    /// Waits until it has closed its engine and is gone.
    func stop() {
        try? requests.fileHandleForWriting.close()
        process.waitUntilExit()
    }

    private var ended: BenchError { BenchError("\(name): its process has ended") }

    private func readLine() throws -> [UInt8] {
        while true {
            if let end = received.firstIndex(of: 10) {
                let line = Array(received[..<end])
                received.removeFirst(end + 1)
                return line
            }
            let more = replies.fileHandleForReading.availableData
            if more.isEmpty { throw ended }
            received.append(contentsOf: more)
        }
    }
}
