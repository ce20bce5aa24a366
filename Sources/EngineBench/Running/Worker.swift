internal import CommandSupport
internal import Foundation

/// What the conductor asks of a worker, one line of JSON each.
struct WorkerRequest: Codable {
    enum Verb: String, Codable { case prepare, round, finish, unload }

    var verb: Verb
    var cell: Cell?
    var round: Int?
}

struct WorkerReply: Codable {
    var error: String?
    /// Missing after a round that the subject can't do.
    var result: RoundResult?
}

/// The other end of `WorkerProcess`: carries out requests until its input ends, which it does with the conductor.
struct Worker {
    let runner: RoundRunner

    func serve() {
        defer { try? runner.unload() }
        while let line = readLine() {
            var reply = WorkerReply()
            do {
                reply = try carryOut(try JSONDecoder().decode(WorkerRequest.self, from: Data(line.utf8)))
            } catch {
                reply.error = "\(error)"
            }
            guard let answer = try? JSONEncoder().encode(reply) else { return }
            do { try StandardOutput.write(Array(answer) + [10]) } catch { return }
        }
    }

    private func carryOut(_ request: WorkerRequest) throws -> WorkerReply {
        var reply = WorkerReply()
        if request.verb == .unload {
            try runner.unload()
            return reply
        }
        guard let cell = request.cell else { throw BenchError("a request without a cell") }
        switch request.verb {
        case .prepare: try runner.prepare(cell)
        case .round: reply.result = try runner.round(cell, number: request.round ?? 0)
        case .finish: try runner.finish(cell)
        case .unload: break
        }
        return reply
    }
}
