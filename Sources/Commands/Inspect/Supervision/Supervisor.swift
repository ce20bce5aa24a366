internal import CommandSupport
internal import Foundation

/// Runs this program again, as a child that does the reading, and watches it.
///
/// What reads damaged files may crash, hang or ask for all memory: in LMDB one flipped bit is enough. So it has a
/// process of its own, with a limit on memory. It says on a pipe where it is; when it falls silent it is killed.
struct Supervisor {
    /// How the child ended.
    enum End {
        case exited(Int32)
        case crashed(signal: Int32)
        case stalled
        /// The user ended it.
        case interrupted(signal: Int32)
    }

    /// In the child's environment: the descriptor of the pipe.
    static let pipeVariable = "FLOTILLA_READER_PIPE"
    private static let pipeInChild: Int32 = 3

    /// When the child is killed, and what memory it has.
    let limits: ReadingLimits
    /// What it was doing when it was last heard of.
    private(set) var stage = "its arguments"

    init(_ limits: ReadingLimits) { self.limits = limits }

    /// Where the child makes its scratch files; removed with whatever it leaves there.
    private static func makeScratch() throws -> String {
        let base = ProcessInfo.processInfo.environment["TMPDIR"] ?? "/tmp"
        var template = Array("\(base)/flotilla-read-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else {
            throw Failure("can't make a directory in \(base): \(String(cString: strerror(errno))); set TMPDIR")
        }
        return template.withUnsafeBytes { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    mutating func run(_ heard: (WorkerMessage) -> Void) throws -> End {
        let scratch = try Self.makeScratch()
        defer { try? FileManager.default.removeItem(atPath: scratch) }
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw Failure("can't make a pipe: \(String(cString: strerror(errno)))") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let child: pid_t
        do {
            defer { close(ends[1]) }
            child = try Self.spawn(pipe: ends[1], scratch: scratch)
        }
        defer { close(ends[0]) }
        let forwarding = SignalForwarding(to: child)
        defer { forwarding.end() }
        let isStalled = listen(ends[0], heard)
        if isStalled { kill(child, SIGKILL) }
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        if isStalled { return .stalled }
        let signal = status & 0x7f
        if signal == 0 { return .exited((status >> 8) & 0xff) }
        return SignalForwarding.signals.contains(signal) ? .interrupted(signal: signal) : .crashed(signal: signal)
    }

    private static func spawn(pipe: Int32, scratch: String) throws -> pid_t {
        var environment = ProcessInfo.processInfo.environment
        environment[pipeVariable] = "\(pipeInChild)"
        environment["TMPDIR"] = scratch
        // The runtime's own report of a crash takes seconds, and says nothing of the file.
        environment["SWIFT_BACKTRACE"] = "enable=no"
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_adddup2(&actions, pipe, pipeInChild)
        for descriptor: Int32 in 0...2 where StandardStreams.wasClosed(descriptor) {
            posix_spawn_file_actions_addclose(&actions, descriptor)
        }
        let variables = environment.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { for text in variables { free(text) } }
        var child: pid_t = 0
        // The very arguments of this process: as strings they would have lost what isn't UTF-8.
        let code = posix_spawn(&child, "/proc/self/exe", &actions, nil, CommandLine.unsafeArgv, variables)
        guard code == 0 else { throw Failure("can't start the process that reads: \(String(cString: strerror(code)))") }
        return child
    }

    /// Hears the child until it closes the pipe; true if it fell silent instead.
    private mutating func listen(_ pipe: Int32, _ heard: (WorkerMessage) -> Void) -> Bool {
        let decoder = JSONDecoder()
        var pending: [UInt8] = []
        var isWriting = false
        var buffer = [UInt8](repeating: 0, count: 65_536)
        var deadline = Self.now + limits.timeout
        while true {
            // While it waits for a pager there is no hurry.
            let patience = isWriting ? -1 : Int32(clamping: Int(max(0, deadline - Self.now) * 1000) + 1)
            var descriptor = pollfd(fd: pipe, events: Int16(POLLIN), revents: 0)
            let ready = poll(&descriptor, 1, patience)
            if ready < 0, errno == EINTR { continue }
            if ready == 0 {
                if !isWriting, Self.now >= deadline { return true }
                continue
            }
            let count = read(pipe, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return false }
            pending += buffer[..<count]
            while let end = pending.firstIndex(of: 10) {
                let line = pending[..<end]
                pending.removeSubrange(...end)
                guard let message = try? decoder.decode(WorkerMessage.self, from: Data(line)) else { continue }
                if let stage = message.stage { self.stage = stage }
                if let writing = message.isWriting { isWriting = writing }
                heard(message)
            }
            deadline = Self.now + limits.timeout
        }
    }

    private static var now: Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }

    /// "SIGSEGV" for 11.
    static func name(ofSignal number: Int32) -> String {
        let names: [Int32: String] = [
            SIGSEGV: "SIGSEGV", SIGBUS: "SIGBUS", SIGABRT: "SIGABRT", SIGILL: "SIGILL", SIGTRAP: "SIGTRAP",
            SIGFPE: "SIGFPE", SIGKILL: "SIGKILL", SIGSYS: "SIGSYS",
        ]
        return names[number] ?? "signal \(number)"
    }
}

/// Passes on what asks this process to end, so that the child goes first and what it made can be removed.
private struct SignalForwarding {
    static let signals: [Int32] = [SIGINT, SIGTERM, SIGHUP]

    /// A signal's handler can reach nothing but a global. One child at a time.
    nonisolated(unsafe) private static var child: pid_t = 0
    private let former: [sighandler_t?]

    init(to child: pid_t) {
        Self.child = child
        former = Self.signals.map { number in signal(number) { kill(SignalForwarding.child, $0) } }
    }

    func end() {
        for (number, handler) in zip(Self.signals, former) { signal(number, handler) }
        Self.child = 0
    }
}
