import Foundation
import RaftLog
import Simulator
import Testing

/// Runs Transcripts/*.txt: commands in, text out, one file for each section of the paper, as in etcd's raft.
///
///     command argument key=value
///     ----
///     what happened
///
/// A line that begins with # is a comment. FLOTILLA_REWRITE=1 writes the output that was found into the files.
@Suite struct TranscriptTests {
    static let directory = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .appendingPathComponent("Transcripts")

    static let names: [String] = {
        let files = (try? FileManager.default.contentsOfDirectory(atPath: directory.path)) ?? []
        return files.filter { $0.hasSuffix(".txt") }.sorted()
    }()

    @Test func thereAreTranscripts() { #expect(Self.names.count >= 9) }

    @Test(arguments: names) func theTranscriptIsAsWritten(name: String) throws {
        let file = Self.directory.appendingPathComponent(name)
        let text = try String(contentsOf: file, encoding: .utf8)
        let blocks = Transcript.parse(text)
        let found = try Transcript.run(blocks)
        if ProcessInfo.processInfo.environment["FLOTILLA_REWRITE"] == "1" {
            try Transcript.text(of: found).write(to: file, atomically: true, encoding: .utf8)
            return
        }
        for (expected, found) in zip(blocks, found) {
            #expect(found.output == expected.output, "\(name):\(expected.line): \(expected.command)")
        }
    }
}

/// The file format, and the verbs.
enum Transcript {
    struct Block {
        /// Comments and empty lines before the command.
        var preamble: [String]
        var command: String
        var line: Int
        var output: [String]
    }

    struct UsageError: Error, CustomStringConvertible { var description: String }

    static func parse(_ text: String) -> [Block] {
        var blocks: [Block] = []
        var preamble: [String] = []
        var isOutput = false
        for (number, line) in text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
            .enumerated()
        {
            if isOutput, !line.isEmpty {
                blocks[blocks.count - 1].output.append(line)
            } else if line == "----", !blocks.isEmpty {
                isOutput = true
            } else if line.isEmpty || line.hasPrefix("#") {
                isOutput = false
                preamble.append(line)
            } else {
                blocks.append(Block(preamble: preamble, command: line, line: number + 1, output: []))
                preamble = []
            }
        }
        return blocks
    }

    static func text(of blocks: [Block]) -> String {
        blocks.map { block in
            (block.preamble.drop { $0.isEmpty } + [block.command, "----"] + block.output).joined(separator: "\n") + "\n"
        }.joined(separator: "\n")
    }

    static func run(_ blocks: [Block]) throws -> [Block] {
        var runner = Runner()
        return try blocks.map { block in
            var found = block
            found.output = try runner.execute(block.command)
            return found
        }
    }

    /// The words of a command: plain ones in order, and `key=value` ones by key.
    struct Words {
        var verb: String
        var plain: [String]
        var named: [String: String]

        init(_ command: String) {
            let words = command.split(separator: " ").map(String.init)
            verb = words.first ?? ""
            plain = words.dropFirst().filter { !$0.contains("=") }
            named = [:]
            for word in words where word.contains("=") {
                let parts = word.split(separator: "=", maxSplits: 1).map(String.init)
                named[parts[0]] = parts.count > 1 ? parts[1] : ""
            }
        }

        func number(_ name: String) -> UInt64? { named[name].flatMap(UInt64.init) }

        func id(_ place: Int) throws -> ReplicaID {
            guard place < plain.count, let number = UInt64(plain[place]) else {
                throw UsageError(description: "\(verb): word \(place + 1) is not a node")
            }
            return ReplicaID(number)
        }

        var ids: [ReplicaID] { plain.compactMap { UInt64($0).map { ReplicaID($0) } } }
    }

    struct Runner {
        private var configuration = ReplicaDriver.Configuration()
        private var founded: TranscriptGroup?
        private var nextToken: UInt64 = 1

        private func group() throws -> TranscriptGroup {
            guard let founded else { throw UsageError(description: "no group yet: begin with `found`") }
            return founded
        }

        mutating func execute(_ command: String) throws -> [String] {
            let words = Words(command)
            switch words.verb {
            case "configure": configure(words)
            case "found": try found(words)
            case "log": return try showLogs(words)
            default: try move(words)
            }
            guard let founded else { return ["ok"] }
            defer { founded.lines = [] }
            let isQuiet = words.plain.contains("quiet")
            return founded.lines.isEmpty || isQuiet ? ["ok"] : founded.lines
        }

        // MARK: - Verbs

        private mutating func configure(_ words: Words) {
            if let value = words.number("retain") { configuration.retainedEntries = value }
            if let value = words.number("memory") { configuration.core.memoryBytesMax = Int(value) }
            if let value = words.number("append") { configuration.core.appendBytesMax = Int(value) }
            if let value = words.number("inflight") { configuration.core.inflightMessagesMax = Int(value) }
        }

        /// found 1 2 3 [log1=1,1,2 …] [term1=3 …]
        private mutating func found(_ words: Words) throws {
            let group = TranscriptGroup(configuration: configuration)
            for id in words.ids {
                let terms = (words.named["log\(id)"] ?? "").split(separator: ",").compactMap { Term($0) }
                try group.found(id, members: words.ids, logTerms: terms, term: words.number("term\(id)") ?? 1)
            }
            founded = group
        }

        private mutating func move(_ words: Words) throws {
            let group = try group()
            switch words.verb {
            case "campaign":
                // Until the node's patience is over.
                let id = try words.id(0)
                group.now = max(group.now, group.nodes[id]?.driver.core.electionDeadline ?? 0)
                try group.give(.tick, to: id)
            case "sleep": group.now += words.plain.first.flatMap(UInt64.init) ?? 0
            case "tick":
                for id in words.ids.isEmpty ? group.ids : words.ids { try group.give(.tick, to: id) }
            case "propose":
                for payload in words.plain.dropFirst() where payload != "quiet" { try propose(payload, words) }
            case "read":
                try group.give(.read(token: takeToken()), to: try words.id(0))
            case "transfer": try group.give(.transfer(try words.id(1)), to: try words.id(0))
            case "change": try change(words)
            default: try moveWorld(words)
            }
        }

        /// Network, disks and processes.
        private mutating func moveWorld(_ words: Words) throws {
            let group = try group()
            switch words.verb {
            case "stabilize": try group.stabilize(words.ids.isEmpty ? nil : Set(words.ids))
            case "deliver": try deliver(words)
            case "drop": group.network.removeAll { matches($0, words) }
            case "disk": for id in words.ids { try group.flushDisk(id) }
            case "disk-begins": for id in words.ids { group.beginWriting(id) }
            case "disk-ends": for id in words.ids { try group.finishWriting(id) }
            case "late":
                // A message that the network keeps, and brings once more.
                for message in group.network where matches(message, words) { group.late.append(message) }
            case "deliver-late":
                let late = group.late.filter { matches($0, words) }
                group.late.removeAll { matches($0, words) }
                for message in late { try group.deliver(message) }
            case "isolate":
                group.isolated.formUnion(words.ids)
                group.network.removeAll { group.isolated.contains($0.from) || group.isolated.contains($0.to) }
            case "heal": group.isolated.subtract(words.ids.isEmpty ? group.ids : words.ids)
            case "crash": for id in words.ids { group.crash(id) }
            case "restart": for id in words.ids { try group.restart(id) }
            case "blank": try group.addBlank(try words.id(0), life: words.number("life") ?? 1)
            case "snapshot":
                try group.beginSnapshot(from: try words.id(0), to: try words.id(1))
                group.lines.removeFirst()
                try group.endSnapshot(to: try words.id(1), arrives: true)
            case "snapshot-begins": try group.beginSnapshot(from: try words.id(0), to: try words.id(1))
            case "snapshot-arrives": try group.endSnapshot(to: try words.id(0), arrives: true)
            case "snapshot-fails": try group.endSnapshot(to: try words.id(0), arrives: false)
            case "state": try showState(words)
            case "membership": try showMembership(words)
            default: throw UsageError(description: "unknown verb \(words.verb)")
            }
        }

        private mutating func takeToken() -> UInt64 {
            defer { nextToken += 1 }
            return nextToken
        }

        private mutating func propose(_ payload: String, _ words: Words) throws {
            try group().give(.propose(Array(payload.utf8), token: takeToken()), to: try words.id(0))
        }

        private func change(_ words: Words) throws {
            let group = try group()
            let target = try words.id(1)
            let incarnation = TranscriptGroup.incarnation(target, life: words.number("life") ?? 1)
            let change: MembershipChange
            switch words.named["do"] {
            case "add": change = .add(target, address: "n\(target)", incarnation: incarnation)
            case "remove": change = .remove(target)
            case "replace": change = .replace(target, address: "n\(target)", incarnation: incarnation)
            default: throw UsageError(description: "change LEADER NODE do=add|remove|replace")
            }
            try group.give(.change(change), to: try words.id(0))
        }

        private func matches(_ message: Message, _ words: Words) -> Bool {
            if let from = words.number("from"), message.from.rawValue != from { return false }
            if let to = words.number("to"), message.to.rawValue != to { return false }
            return true
        }

        /// deliver [from=] [to=] [count=]: only what waits now, not the answers.
        private func deliver(_ words: Words) throws {
            let group = try group()
            var chosen = group.network.indices.filter { matches(group.network[$0], words) }
            if let count = words.number("count") { chosen = Array(chosen.prefix(Int(count))) }
            let messages = chosen.map { group.network[$0] }
            for place in chosen.reversed() { group.network.remove(at: place) }
            for message in messages { try group.deliver(message) }
        }

        private func showState(_ words: Words) throws {
            let group = try group()
            for id in words.ids.isEmpty ? group.ids : words.ids {
                guard let node = group.nodes[id] else { continue }
                let core = node.driver.core
                group.lines.append(
                    node.isUp
                        ? "\(id) \(core.role) term \(core.term) log \(group.log(id)) durable \(core.durable) commit \(core.commit) "
                            + "list \(try group.list(id))" : "\(id) down")
            }
        }

        private func showLogs(_ words: Words) throws -> [String] {
            let group = try group()
            return (words.ids.isEmpty ? group.ids : words.ids).map { "\($0) \(group.log($0))" }
        }

        private func showMembership(_ words: Words) throws {
            let group = try group()
            for id in words.ids.isEmpty ? group.ids : words.ids {
                let members = group.nodes[id]?.driver.core.membership.members ?? []
                let list = members.map { "\($0.id)(\($0.standing), life \($0.incarnation.low))" }.joined(separator: " ")
                group.lines.append("\(id): \(list.isEmpty ? "none" : list)")
            }
        }
    }
}
