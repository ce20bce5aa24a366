import ArgumentParser
import Client
import CommandSupport
import Foundation

extension KvVerb {
    struct Batch: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Carry out the operations on standard input, one a line; one result a line, in order.",
            discussion: """
                Lines: get KEY | put KEY VALUE | append KEY VALUE | delete KEY | cas KEY EXPECTED VALUE. The value of \
                put, append and cas is the rest of the line; the line's end, LF or CR LF, is no part of it. Every line \
                has a result, also an empty one, which is a mistake. Many lines are in flight at once; lines that touch \
                the same key may be executed in any order unless --in-order is given. With -w json values that hold \
                line feeds stay on one line.
                """)
        @OptionGroup var cluster: ClusterOptions
        @Flag(help: "One after another.") var inOrder = false

        private static let runningMax = 256

        /// Each result is written as soon as it and those before it are there: whoever feeds us line by line may
        /// wait for the answer before the next line.
        func run() async throws {
            let client = cluster.makeClient()
            let feed = BatchFeed(runningMax: inOrder ? 1 : Self.runningMax)
            Thread.detachNewThread { feed.read { await Self.carryOut($0, client) } }
            var worst = ExitCode.success
            var failure: OutputFailure?
            for await _ in feed.changes {
                let (results, isOver) = feed.take()
                for result in results where result.exitCode != 0 && (worst == .success || worst == Exit.notFound) {
                    worst = ExitCode(result.exitCode)
                }
                let text = try text(results)
                if failure == nil {
                    do throws(OutputFailure) { try StandardOutput.write(text) } catch { failure = error }
                }
                // Writes that nobody would hear of are better not begun.
                if failure != nil || StandardOutput.isReaderGone { feed.stop() }
                if isOver { break }
            }
            let (inputEnd, lines) = feed.ended
            if let failure {
                note("flotilla: \(lines) lines were carried out; what else is on standard input was not read")
                throw failure
            }
            switch inputEnd {
            case .end: break
            case .failed(let failure):
                note("flotilla: \(failure); before that \(lines) lines were carried out")
                throw Exit.failed
            case nil:
                note(
                    "flotilla: nobody reads the results any more; \(lines) lines were carried out, and what else is on "
                        + "standard input was not read")
                throw Exit.failed
            }
            if worst != .success { throw worst }
        }

        private func text(_ results: [BatchResult]) throws -> [UInt8] {
            let isShown = StandardOutput.isTerminal
            var text: [UInt8] = []
            for result in results {
                if cluster.format == .json {
                    text += try jsonText(Self.object(result), isPretty: false).utf8
                } else {
                    let line = Self.line(result.outcome)
                    text += isShown ? TerminalText.escape(line) : line
                    text.append(10)
                }
            }
            return text
        }

        private static func line(_ outcome: BatchResult.Outcome) -> [UInt8] {
            switch outcome {
            case .value(let value): value
            case .length(let length): Array("\(length)".utf8)
            case .done: Array("OK".utf8)
            case .absent: Array("(absent)".utf8)
            case .unequal: Array("(compare failed)".utf8)
            case .error(let sentence): Array("error: \(sentence)".utf8)
            }
        }

        private static func object(_ result: BatchResult) -> JSONObject {
            var object = JSONObject()
            switch result.outcome {
            case .value(let value): object.setBytes("value", value)
            case .length(let length): object.set("length", length)
            case .done: break
            case .absent: object.set("absent", true)
            case .unequal: object.set("succeeded", false)
            case .error(let sentence): object.set("error", sentence)
            }
            object.set("exitCode", result.exitCode)
            return object
        }

        private static func carryOut(_ line: LineSplitter.Line, _ client: FlotillaClient) async -> BatchResult {
            guard case .whole(let bytes) = line else {
                return BatchResult(
                    outcome: .error("the line is longer than any key and value may be"), exitCode: Exit.usage.rawValue)
            }
            let operation: BatchOperation
            do throws(BatchOperation.Mistake) { operation = try BatchOperation(bytes) } catch {
                return BatchResult(outcome: .error(error.sentence), exitCode: Exit.usage.rawValue)
            }
            do throws(ClientError) {
                let outcome = try await carryOut(operation, client)
                let isThere =
                    switch outcome {
                    case .absent, .unequal: false
                    default: true
                    }
                return BatchResult(outcome: outcome, exitCode: isThere ? 0 : Exit.notFound.rawValue)
            } catch {
                return BatchResult(outcome: .error(error.message), exitCode: error.exitCode.rawValue)
            }
        }

        private static func carryOut(
            _ operation: BatchOperation, _ client: FlotillaClient
        ) async throws(ClientError) -> BatchResult.Outcome {
            switch operation {
            case .get(let key):
                guard let value = try await client.get(key) else { return .absent }
                return .value(value)
            case .put(let key, let value):
                try await client.put(key, value)
                return .done
            case .append(let key, let value): return .length(try await client.append(key, value))
            case .delete(let key): return try await client.delete(key) ? .done : .absent
            case .compareAndSet(let key, let expected, let value):
                return try await client.compareAndSet(key, expected: expected, value: value) ? .done : .unequal
            }
        }
    }
}
