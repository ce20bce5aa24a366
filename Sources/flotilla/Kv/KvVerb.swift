import ArgumentParser
internal import Bytes
import Client
import CommandSupport
import Foundation
import RaftLog

struct KvVerb: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kv", abstract: "Read and write keys.",
        subcommands: [Get.self, Put.self, Append.self, Delete.self, CompareAndSet.self, Scan.self, Batch.self])

    struct Get: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Print the value of a key; nothing and exit code 2 if it is absent.")
        @OptionGroup var cluster: ClusterOptions
        @Argument var key: String

        func run() async throws {
            let client = cluster.makeClient()
            let value = try await report { () throws(ClientError) in try await client.get(Array(key.utf8)) }
            guard let value else { throw Exit.notFound }
            if cluster.format == .json {
                var object = JSONObject()
                object.setBytes("key", Array(key.utf8))
                object.setBytes("value", value)
                try printJSON(object)
            } else {
                printBytes(value)
            }
        }
    }

    struct Put: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Set the value of a key.")
        @OptionGroup var cluster: ClusterOptions
        @Argument var key: String
        @Argument(help: "The value; - reads it from standard input.") var value: String

        func run() async throws {
            let client = cluster.makeClient()
            let bytes = argumentBytes(value)
            try await report { () throws(ClientError) in try await client.put(Array(key.utf8), bytes) }
            if cluster.format == .json { try printJSON(["ok": true]) } else { print("OK") }
        }
    }

    struct Append: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Append to the value of a key; prints its new length.")
        @OptionGroup var cluster: ClusterOptions
        @Argument var key: String
        @Argument(help: "What to append; - reads it from standard input.") var value: String

        func run() async throws {
            let client = cluster.makeClient()
            let bytes = argumentBytes(value)
            let length = try await report { () throws(ClientError) in try await client.append(Array(key.utf8), bytes) }
            if cluster.format == .json { try printJSON(["length": length]) } else { print(length) }
        }
    }

    struct Delete: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Delete a key; exit code 2 if it was absent.")
        @OptionGroup var cluster: ClusterOptions
        @Argument var key: String

        func run() async throws {
            let client = cluster.makeClient()
            let existed = try await report { () throws(ClientError) in try await client.delete(Array(key.utf8)) }
            if cluster.format == .json { try printJSON(["existed": existed]) } else if existed { print("OK") }
            if !existed { throw Exit.notFound }
        }
    }

    struct CompareAndSet: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "cas", abstract: "Replace a value if it is what is expected; exit code 2 if it isn't.",
            discussion:
                "flotilla kv cas KEY EXPECTED VALUE. With --absent EXPECTED is left out; with --remove VALUE is.")
        @OptionGroup var cluster: ClusterOptions
        @Flag(help: "Expect that the key is absent.") var absent = false
        @Flag(help: "Delete the key instead of setting it.") var remove = false
        @Argument var key: String
        @Argument var values: [String] = []

        func validate() throws {
            let wanted = (absent ? 0 : 1) + (remove ? 0 : 1)
            if values.count != wanted {
                throw ValidationError("Give \(wanted) value(s) after the key, not \(values.count).")
            }
        }

        func run() async throws {
            let client = cluster.makeClient()
            let expected = absent ? nil : Array(values[0].utf8)
            let value = remove ? nil : values.last.map { Array($0.utf8) }
            let succeeded = try await report { () throws(ClientError) in
                try await client.compareAndSet(Array(key.utf8), expected: expected, value: value)
            }
            if cluster.format == .json { try printJSON(["succeeded": succeeded]) } else if succeeded { print("OK") }
            if !succeeded { throw Exit.notFound }
        }
    }

    struct Scan: AsyncParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Print pairs in key order over all shards.")
        @OptionGroup var cluster: ClusterOptions
        @Option(help: "First key.") var start = ""
        @Option(help: "Before this key; empty means to the end.") var end = ""
        @Option(help: "Only keys that begin so.") var prefix: String?
        @Option(help: "Pairs to print, at most.") var limit = 1_000
        @Flag(help: "Print keys only.") var keysOnly = false

        func run() async throws {
            let client = cluster.makeClient()
            var lower = Array(start.utf8)
            var upper = Array(end.utf8)
            if let prefix {
                lower = Array(prefix.utf8)
                upper = successor(ofPrefix: lower) ?? []
            }
            let (from, to) = (lower, upper)
            let pairs = try await report { () throws(ClientError) in
                try await client.scan(start: from, end: to, limit: limit, keysOnly: keysOnly)
            }
            if cluster.format == .json {
                try printJSON(
                    pairs.map { pair in
                        var object = JSONObject()
                        object.setBytes("key", pair.key)
                        if !keysOnly { object.setBytes("value", pair.value) }
                        return object
                    })
            } else {
                for pair in pairs { printBytes(keysOnly ? pair.key : pair.key + [9] + pair.value) }
            }
        }
    }

    struct Batch: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Carry out the operations on standard input, one a line; one result a line, in order.",
            discussion: """
                Lines: get KEY | put KEY VALUE | append KEY VALUE | delete KEY | cas KEY EXPECTED VALUE. The value of \
                put and append is the rest of the line. Many lines are in flight at once; lines that touch the \
                same key may be executed in any order unless --in-order is given.
                """)
        @OptionGroup var cluster: ClusterOptions
        @Flag(help: "One after another.") var inOrder = false

        /// Each result is written as soon as it and those before it are there: whoever feeds us line by line may
        /// wait for the answer before the next line.
        func run() async throws {
            let client = cluster.makeClient()
            let places = DispatchSemaphore(value: inOrder ? 1 : 256)
            let (lines, feed) = AsyncStream.makeStream(of: [UInt8].self)
            // Reading blocks, so it has a thread of its own; it stops reading while too many lines are in flight.
            Thread.detachNewThread {
                while let line = readBytes() {
                    if line.isEmpty { continue }
                    places.wait()
                    feed.yield(line)
                }
                feed.finish()
            }
            let (results, begun) = AsyncStream.makeStream(of: Task<(Outcome, ExitCode), Never>.self)
            let starter = Task {
                for await line in lines { begun.yield(Task { await Self.execute(line, client) }) }
                begun.finish()
            }
            var worst = ExitCode.success
            for await result in results {
                let (text, code) = await result.value
                if cluster.format == .json {
                    try printJSON(Self.object(text, code), isPretty: false)
                } else {
                    printBytes(Self.line(text, code))
                }
                if code != .success, worst == .success || worst == Exit.notFound { worst = code }
                places.signal()
            }
            await starter.value
            if worst != .success { throw worst }
        }

        /// What a line came to.
        enum Outcome: Sendable {
            case value([UInt8])
            case length(Int)
            case done
            case absent
            case unequal
            case error(String)
        }

        static func line(_ outcome: Outcome, _ code: ExitCode) -> [UInt8] {
            switch outcome {
            case .value(let value): value
            case .length(let length): Array("\(length)".utf8)
            case .done: Array("OK".utf8)
            case .absent: Array("(absent)".utf8)
            case .unequal: Array("(compare failed)".utf8)
            case .error(let sentence): Array("error: \(sentence)".utf8)
            }
        }

        static func object(_ outcome: Outcome, _ code: ExitCode) -> JSONObject {
            var object = JSONObject()
            switch outcome {
            case .value(let value): object.setBytes("value", value)
            case .length(let length): object.set("length", length)
            case .done: break
            case .absent: object.set("absent", true)
            case .unequal: object.set("succeeded", false)
            case .error(let sentence): object.set("error", sentence)
            }
            object.set("exitCode", code.rawValue)
            return object
        }

        static func execute(_ line: [UInt8], _ client: FlotillaClient) async -> (Outcome, ExitCode) {
            let space = UInt8(ascii: " ")
            let words = line.split(separator: space, maxSplits: 2, omittingEmptySubsequences: false).map(Array.init)
            let key = words.count > 1 ? words[1] : []
            do throws(ClientError) {
                switch (String(decoding: words[0], as: UTF8.self), words.count) {
                case ("get", 2):
                    guard let value = try await client.get(key) else { return (.absent, Exit.notFound) }
                    return (.value(value), .success)
                case ("put", 3):
                    try await client.put(key, words[2])
                    return (.done, .success)
                case ("append", 3): return (.length(try await client.append(key, words[2])), .success)
                case ("delete", 2):
                    return try await client.delete(key) ? (.done, .success) : (.absent, Exit.notFound)
                case ("cas", 3):
                    let values = words[2].split(separator: space, maxSplits: 1).map(Array.init)
                    guard values.count == 2 else { return (.error("cas KEY EXPECTED VALUE"), Exit.usage) }
                    let succeeded = try await client.compareAndSet(key, expected: values[0], value: values[1])
                    return succeeded ? (.done, .success) : (.unequal, Exit.notFound)
                default:
                    return (.error("not an operation: \(String(decoding: line, as: UTF8.self))"), Exit.usage)
                }
            } catch {
                return (.error(error.message), error.exitCode)
            }
        }
    }
}

/// The bytes of the next line of standard input, as they are; `nil` at the end.
private func readBytes() -> [UInt8]? {
    var pointer: UnsafeMutablePointer<CChar>?
    var capacity = 0
    defer { free(pointer) }
    guard let stdinFile else { return nil }
    let count = getline(&pointer, &capacity, stdinFile)
    guard count >= 0, let pointer else { return nil }
    var line = Array(UnsafeRawBufferPointer(start: pointer, count: count))
    if line.last == UInt8(ascii: "\n") { line.removeLast() }
    return line
}

/// Standard input; read by one thread alone.
nonisolated(unsafe) private let stdinFile = fdopen(0, "r")

private func argumentBytes(_ argument: String) -> [UInt8] {
    argument == "-" ? [UInt8](FileHandle.standardInput.readDataToEndOfFile()) : Array(argument.utf8)
}
