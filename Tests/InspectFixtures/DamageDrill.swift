import EngineFaults
public import Engines
import Foundation
import Inspect

/// Damages stores, and has `inspect` and `verify` read them as a user would: in processes of their own.
///
/// Whatever the damage, both end in time, with an exit code and within 256 MiB, and `verify` never calls an archive good
/// that isn't as it was written.
public struct DamageDrill: Sendable {
    /// What is damaged.
    public enum Subject: Sendable, CustomStringConvertible {
        /// A node's directory; as a kill leaves it, or closed.
        case directory(EngineKind, killed: Bool)
        case snapshot
        case backup

        public var description: String {
            switch self {
            case .directory(let kind, let killed): "\(kind) directory, \(killed ? "killed" : "closed")"
            case .snapshot: "snapshot"
            case .backup: "backup"
            }
        }

        var isSealed: Bool { if case .directory = self { false } else { true } }
        var engine: EngineKind? { if case .directory(let kind, _) = self { kind } else { nil } }

        public static let all: [Subject] =
            EngineKind.durable.flatMap { [.directory($0, killed: false), .directory($0, killed: true)] }
            + [.snapshot, .backup]
    }

    /// The limit under which both read; the undamaged store is read under it too.
    private static let memoryMiB = "256"
    /// What a library that is led astray leaves in the output.
    private static let crashes = ["SIGSEGV", "SIGBUS", "mdb.c:"]
    /// For one command; it takes well under a second.
    private static let secondsMax = 60.0

    public struct Report: Sendable {
        public var subject: Subject
        public var cases = 0
        /// `verify` said so.
        public var damaged = 0
        /// Of these: the library crashed, or fell silent, in the child.
        public var crashed = 0
        public var silent = 0
        /// A directory that reads as before: the damage lies in what nobody reads, or beside the data.
        public var unharmed = 0
        /// A directory that reads otherwise than before, and nothing contradicts it.
        public var unnoticed = 0
        /// Refused for another reason than damage, such as a newer format.
        public var refused = 0
        /// The most memory that a process had at a time, mapped files included, in KiB.
        public var residentMax = 0
        /// What must never be, with everything that makes it again.
        public var failures: [String] = []

        public var summary: String {
            "\(subject): \(cases) damaged copies: \(damaged) found damaged (\(crashed) crashes, \(silent) silent), "
                + "\(unharmed) unharmed, \(unnoticed) unnoticed, \(refused) refused; "
                + "at most \(residentMax / 1024) MiB resident; \(failures.count) failures"
        }
    }

    public let subject: Subject
    public let seed: UInt64

    public init(_ subject: Subject, seed: UInt64) {
        self.subject = subject
        self.seed = seed
    }

    public func run(flips: Int, cutsPerFile: Int = 16, noting note: (String) -> Void = { _ in }) throws -> Report {
        try withScratchDirectory { root in
            let original = "\(root)/original"
            try make(original, root)
            let name = subject.description.utf8.reduce(0) { SeededRandom.hash($0, UInt64($1)) }
            var random = SeededRandom(seed: SeededRandom.hash(seed, name))
            let plan = try DamagePlan(
                of: original, subject.engine, enginePrefix: "engine/", flips: flips, cutsPerFile: cutsPerFile,
                using: &random)
            let copy = "\(root)/copy"
            try FileManager.default.copyItem(atPath: original, toPath: copy)
            let before = try Self.run("inspect", copy, "-w", "json", "--memory", Self.memoryMiB)
            guard before.end == .exited(0) else {
                throw BrokenRule("\(subject): can't be read whole: \(before.output)")
            }
            var report = Report(subject: subject)
            for step in plan.steps {
                try plan.apply(step, from: original, to: copy)
                try look(
                    copy, "\(subject), seed \(seed): \(step.what) (\(step.structure))", before.output, &report, note)
            }
            return report
        }
    }

    private func make(_ original: String, _ root: String) throws {
        // Some large values, and enough keys for more than one page, file and chunk.
        let size = NodeFixture.Size(keys: 1_500, valueBytes: 300, largeValueBytes: 70_000)
        switch subject {
        case .directory(let kind, let killed):
            if killed {
                try NodeFixture.makeGroup("\(root)/running", kind, size) {
                    try FileManager.default.copyItem(atPath: "\(root)/running", toPath: original)
                }
            } else {
                try NodeFixture.makeGroup(original, kind, size)
            }
        case .snapshot:
            try NodeFixture.makeGroup("\(root)/node", .rocksdb, size)
            _ = try ArchiveMaker.save(
                from: "\(root)/node", to: original, madeBy: "flotilla 0", createdAtMs: NodeFixture.start)
        case .backup:
            try NodeFixture.makeGroup("\(root)/node", .lmdb, size)
            try NodeFixture.makeController("\(root)/controller", .sqlite)
            try NodeFixture.makeBackup(of: ["\(root)/controller", "\(root)/node"], original)
        }
    }

    private func look(
        _ copy: String, _ what: String, _ before: String, _ report: inout Report, _ note: (String) -> Void
    ) throws {
        report.cases += 1
        let verified = try Self.run("verify", copy, "--timeout", "20", "--memory", Self.memoryMiB)
        let inspected = try Self.run("inspect", copy, "-w", "json", "--timeout", "20", "--memory", Self.memoryMiB)
        func fail(_ sentence: String, _ run: Run) {
            report.failures.append("\(what): \(sentence): \(run.output.suffix(300))")
        }
        for (verb, run) in [("verify", verified), ("inspect", inspected)] {
            report.residentMax = max(report.residentMax, run.residentMax)
            switch run.end {
            case .exited(0), .exited(1), .exited(2): break
            default: fail("\(verb) ended with \(run.end)", run)
            }
            if run.output.isEmpty { fail("\(verb) said nothing", run) }
            // Without memory C++ and Swift end in other ways than by a pointer that leads astray, or than by LMDB's own
            // assertion about a page, which says so.
            if run.output.contains("ended with "), !Self.crashes.contains(where: run.output.contains) {
                fail("\(verb) needed more than \(Self.memoryMiB) MiB, or failed an assertion", run)
            }
        }
        switch verified.end {
        case .exited(2):
            report.damaged += 1
            if verified.output.contains("ended with SIG") { report.crashed += 1 }
            if verified.output.contains("has not got on") { report.silent += 1 }
        case .exited(0):
            if subject.isSealed { fail("verify called it good", verified) }
            if inspected.end == .exited(0), inspected.output == before {
                report.unharmed += 1
            } else {
                report.unnoticed += 1
                note("\(what): unnoticed: \(inspected.output.count) characters, \(before.count) before")
            }
        case .exited(1):
            report.refused += 1
            if subject.isSealed { fail("verify refused it instead of finding damage", verified) }
        default: break
        }
    }

    // MARK: - Processes

    private struct Run {
        var end: ChildOutcome.End
        var output: String
        /// Of the program and of what it started, in KiB.
        var residentMax: Int
    }

    /// Runs `snapshot-tool` and takes what it says on either stream.
    private static func run(_ arguments: String...) throws -> Run {
        let program = try ChildProgram.path("snapshot-tool")
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw BrokenRule("no pipe: \(errno)") }
        defer { close(ends[0]) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 2)
        // A group of its own, so that what hangs is ended with all that it has started.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        let words = ([program] + arguments).map { strdup($0) } + [nil]
        let variables = ProcessInfo.processInfo.environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in words + variables { free(text) } }
        var child: pid_t = 0
        let code = posix_spawn(&child, program, &actions, &attributes, words, variables)
        close(ends[1])
        guard code == 0 else { throw BrokenRule("\(program) can't be started: \(code)") }
        let deadline = Date().addingTimeInterval(secondsMax)
        var output: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 65_536)
        var isLate = false
        while true {
            var descriptor = pollfd(fd: ends[0], events: Int16(POLLIN), revents: 0)
            let left = deadline.timeIntervalSinceNow
            if left <= 0 || poll(&descriptor, 1, Int32(left * 1000) + 1) == 0 {
                isLate = true
                kill(-child, SIGKILL)
                break
            }
            let count = read(ends[0], &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            if count <= 0 { break }
            output += buffer[..<count]
        }
        var status: Int32 = 0
        var usage = rusage()
        while wait4(child, &status, 0, &usage) < 0, errno == EINTR {}
        let signal = status & 0x7f
        let end: ChildOutcome.End =
            isLate ? .timedOut : signal != 0 ? .signalled(signal) : .exited((status >> 8) & 0xff)
        return Run(end: end, output: String(decoding: output, as: UTF8.self), residentMax: usage.ru_maxrss)
    }
}
