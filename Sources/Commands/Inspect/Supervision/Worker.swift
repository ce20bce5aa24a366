internal import CommandSupport
internal import Engines
internal import Foundation
internal import Inspect

/// The side of the child: reads, writes to standard output, and tells the supervisor how it gets on.
final class Worker {
    let output: Output
    let progress: ReadProgress
    private let pipe: Pipe

    /// Where it is and how far, to the supervisor and, for people, onto the terminal.
    private final class Pipe {
        let descriptor: Int32
        let bar = ProgressBar()
        private let encoder = JSONEncoder()
        private var stage = ""
        private var saidAt = 0.0
        /// More often would cost more than it says.
        private static let intervalSeconds = 0.05

        init(_ descriptor: Int32) { self.descriptor = descriptor }

        func send(_ message: WorkerMessage) {
            guard var line = try? encoder.encode(message) else { return }
            line.append(10)
            var rest = line[...]
            while !rest.isEmpty {
                let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
                if count < 0, errno == EINTR { continue }
                // Nobody watches any more: the supervisor was killed.
                guard count > 0 else { _exit(1) }
                rest = rest.dropFirst(count)
            }
        }

        func show(_ progress: ReadProgress) {
            let isNew = progress.stage != stage
            let now = Date().timeIntervalSinceReferenceDate
            guard isNew || now - saidAt >= Self.intervalSeconds else { return }
            saidAt = now
            stage = progress.stage
            send(WorkerMessage(stage: isNew ? stage : nil, records: progress.records))
            bar.show(progress)
        }
    }

    private init(_ descriptor: Int32) {
        let pipe = Pipe(descriptor)
        self.pipe = pipe
        progress = ReadProgress { pipe.show($0) }
        output = Output { isWriting in
            if isWriting { pipe.bar.giveWay() }
            pipe.send(WorkerMessage(isWriting: isWriting))
        }
    }

    /// The worker, in a process that a supervisor has started.
    static func current(_ limits: ReadingLimits) -> Worker? {
        guard let text = getenv(Supervisor.pipeVariable), let descriptor = Int32(String(cString: text)) else {
            return nil
        }
        unsetenv(Supervisor.pipeVariable)
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        // Data: heap and stacks. LMDB's map is address space and a file, and doesn't count.
        limit(__rlimit_resource_t(RLIMIT_DATA.rawValue), to: UInt(limits.memory) << 20)
        limit(__rlimit_resource_t(RLIMIT_CORE.rawValue), to: 0)
        return Worker(descriptor)
    }

    private static func limit(_ resource: __rlimit_resource_t, to value: UInt) {
        var limits = rlimit(rlim_cur: value, rlim_max: value)
        setrlimit(resource, &limits)
    }

    /// About how many bytes there are to read.
    func expect(bytes: UInt64) { pipe.bar.total = bytes }
    func send(_ message: WorkerMessage) { pipe.send(message) }
    func clearBar() { pipe.bar.clear() }

    /// A sentence for people, beside the data.
    func note(_ sentence: String) {
        pipe.bar.clear()
        CommandSupport.note(sentence)
    }

    /// Opens a store; the error beside a running server names what to do instead.
    func open(_ path: String) throws(EngineError) -> InspectedStore {
        let store = try InspectedStore(path, progress)
        expect(bytes: store.bytesEstimate)
        return store
    }

    /// The shards of a store that a user asks for; a note if it lacks the one.
    func shards(of store: InspectedStore, _ selection: RecordSelection) throws(EngineError) -> [UserShard] {
        let shards = try store.userShards(selection)
        if let shard = selection.shard, shards.isEmpty {
            note("flotilla: \(store.path) doesn't hold shard \(shard); `inspect` shows those that it holds")
        }
        return shards
    }
}
