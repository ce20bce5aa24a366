internal import ArgumentParser
internal import CommandSupport
internal import Engines
internal import Foundation
internal import Inspect
internal import Keyspace
internal import Synchronization

/// What a restore into a live cluster is asked to do.
package struct IntoRequest: Sendable {
    package var archive: String
    /// Put before every key.
    package var prefix: [UInt8] = []
    /// Only the archive's keys that begin so.
    package var onlyPrefix: [UInt8] = []
    package var existing = ExistingKeys.overwrite
    /// Keys a second.
    var rate: Double?
    /// How long to go on while nothing is answered.
    var patience: Duration = .seconds(120)
    /// The file with which an interrupted restore goes on.
    package var progressPath: String

    /// Between attempts of one put.
    package var pause: Duration = .milliseconds(500)
    /// How often the clock is looked at: a pace is kept, the bar drawn, the progress saved.
    var tick: Duration = .milliseconds(50)
    package var saveInterval: Duration = .seconds(1)

    package init(
        archive: String, prefix: [UInt8] = [], onlyPrefix: [UInt8] = [], rate: Double? = nil,
        patience: Duration = .seconds(120), progressPath: String, pause: Duration = .milliseconds(500),
        tick: Duration = .milliseconds(50), saveInterval: Duration = .seconds(1)
    ) {
        self.archive = archive
        self.prefix = prefix
        self.onlyPrefix = onlyPrefix
        self.rate = rate
        self.patience = patience
        self.progressPath = progressPath
        self.pause = pause
        self.tick = tick
        self.saveInterval = saveInterval
    }
}

/// Why a restore has ended before its end.
package struct IntoError: Error, Equatable {
    package var exitCode: Int32
    package var sentence: String

    init(_ exitCode: Int32, _ sentence: String) {
        self.exitCode = exitCode
        self.sentence = sentence
    }

    init(_ error: EngineError) { self.init(error.exitCode.rawValue, error.sentence) }
}

/// What a restore has done.
package struct IntoSummary: Encodable, Equatable {
    var clusterId: String
    /// In all runs together.
    package var keys: UInt64
    var bytes: UInt64
    /// Of `keys`: left as they were.
    package var kept: UInt64
    package var wasResumed: Bool
}

/// Puts an archive's keys into a live cluster.
///
/// Order: the cluster is asked who it is, an unfinished restore is found, everything is read and verified once, and only
/// then the first key is written. From then on `progressPath` says how far it is. Puts that were on their way when a run
/// ended are repeated by the next one; repeated, they leave what they left before.
package struct IntoRun {
    let request: IntoRequest
    let destination: any KeyDestination
    let bar = TerminalBar()
    var say: (String) -> Void = note

    package init(request: IntoRequest, destination: any KeyDestination, say: @escaping (String) -> Void = note) {
        self.request = request
        self.destination = destination
        self.say = say
    }
    /// Since the run began.
    package var clock: () -> Duration = {
        let start = ContinuousClock.now
        return { ContinuousClock.now - start }
    }()

    private enum Event: Sendable {
        case answered(Int, wasWritten: Bool)
        case failed(DestinationError)
        case tick
        case interrupted(signal: Int32)
    }

    package func run() async throws(IntoError) -> IntoSummary {
        let keys = try engine { () throws(EngineError) in
            guard !InspectFiles.isInside(request.progressPath, request.archive) else {
                throw .mismatch(
                    "\(request.progressPath) lies in the archive, which must not change; give --progress FILE")
            }
            return try ArchiveKeys(request.archive, prefix: request.onlyPrefix)
        }
        for note in keys.notes { say("note: \(note)") }
        let clusterID = try await patiently { () async throws(DestinationError) in try await destination.clusterID() }
        let job = IntoProgress.Job(
            seal: keys.archive.seal, clusterID: clusterID, prefix: request.prefix, onlyPrefix: request.onlyPrefix,
            existing: request.existing)
        let found = try engine { () throws(EngineError) in try IntoProgress.load(request.progressPath) }
        if let refusal = found?.refusal(for: job, request.progressPath) {
            throw IntoError(Exit.failed.rawValue, refusal)
        }
        if let found {
            say("going on after \(found.answered.keys) of \(found.keysTotal) keys (\(request.progressPath))")
        }
        var progress = if let found { found } else { try await begin(job, keys) }
        try await put(keys, &progress)
        bar.clear()
        IntoProgress.remove(request.progressPath)
        return IntoSummary(
            clusterId: clusterID, keys: progress.answered.keys, bytes: progress.answered.bytes,
            kept: progress.answered.kept, wasResumed: found != nil)
    }

    // MARK: - Before the first write

    /// Reads the archive once, and refuses what can't be put whole.
    private func begin(_ job: IntoProgress.Job, _ keys: ArchiveKeys) async throws(IntoError) -> IntoProgress {
        let room = Limits.keyBytesMax - request.prefix.count
        let total = keys.bytesEstimate
        let reading = ReadProgress { progress in
            bar.show(progress.bytes, of: total, "verified, \(progress.stage)")
        }
        let measure: ArchiveKeys.Measure
        do throws(EngineError) { measure = try keys.measure(keyBytesMax: room, reading) } catch {
            bar.clear()
            throw IntoError(error.exitCode.rawValue, "\(error.sentence); nothing was written")
        }
        bar.clear()
        if let long = measure.firstLong {
            throw IntoError(
                Exit.failed.rawValue,
                "with the prefix \(measure.longKeys) of \(measure.keys) keys would have more than \(Limits.keyBytesMax) "
                    + "bytes, first \"\(BytesText.escaped(long.key))\" of shard \(long.shard), which has "
                    + "\(long.key.count) without it; nothing was written; give a prefix of at most "
                    + "\(Limits.keyBytesMax - measure.longestKey) bytes")
        }
        if measure.keys == 0, !request.onlyPrefix.isEmpty {
            throw IntoError(
                Exit.failed.rawValue,
                "\(request.archive) holds no key that begins with \"\(BytesText.escaped(request.onlyPrefix))\"; nothing "
                    + "was written")
        }
        let under = request.prefix + request.onlyPrefix
        let there = try await patiently { () async throws(DestinationError) in
            try await destination.firstKey(withPrefix: under)
        }
        if let there {
            say(
                "note: the cluster holds keys under \"\(BytesText.escaped(under))\" already, first "
                    + "\"\(BytesText.escaped(there))\"; those that the archive has too "
                    + (request.existing == .overwrite ? "get its values" : "keep theirs"))
        }
        let progress = IntoProgress(
            job: job, archivePath: request.archive, keysTotal: measure.keys, bytesTotal: measure.bytes,
            answered: PutWindow.Answered())
        try engine { () throws(EngineError) in try save(progress) }
        return progress
    }

    private func save(_ progress: IntoProgress) throws(EngineError) {
        do throws(EngineError) { try progress.save(request.progressPath) } catch {
            throw .mismatch(
                "the progress of the restore can't be written (\(error)); give a file that can be with --progress")
        }
    }

    // MARK: - The puts

    private func put(_ keys: ArchiveKeys, _ progress: inout IntoProgress) async throws(IntoError) {
        let (events, feed) = AsyncStream.makeStream(of: Event.self)
        let isOver = Flag()
        defer { isOver.set() }
        let tick = request.tick
        let ticker = Task {
            while !Task.isCancelled {
                try? await Task.sleep(for: tick)
                feed.yield(.tick)
            }
        }
        defer { ticker.cancel() }
        let signals = SignalWatch { feed.yield(.interrupted(signal: $0)) }
        defer { signals.end() }

        try engine { () throws(EngineError) in try keys.goOn(after: progress.answered.last) }
        var window = PutWindow(after: progress.answered)
        let start = clock()
        var pacer = Pacer(perSecond: request.rate)
        var patience = Patience(limit: request.patience, at: start)
        var savedAt = start
        var isRead = false
        let keysBefore = progress.answered.keys
        defer { progress.answered = window.answered }
        var next = events.makeAsyncIterator()
        while true {
            while !isRead, window.hasRoom, pacer.isOpen(at: clock()) {
                let record: ArchiveKeys.Record?
                do throws(EngineError) { record = try keys.next() } catch {
                    bar.clear()
                    try keepProgress(&progress, window)
                    throw IntoError(error.exitCode.rawValue, "\(error.sentence); \(resumeHint(window))")
                }
                guard let record else {
                    isRead = true
                    break
                }
                pacer.take(at: clock())
                let number = window.begin(record.position, bytes: record.bytes)
                let key = request.prefix + record.position.key
                send(number, key, record.value, isOver, feed)
            }
            if isRead, window.isEmpty { return }
            guard let event = await next.next() else { return }
            switch event {
            case .answered(let number, let wasWritten):
                window.finish(number, wasWritten: wasWritten)
                if patience.answered(at: clock()) { tell("the cluster answers again") }
            case .failed(let error):
                let advice = error.mayPass ? patience.failed(at: clock()) : .giveUp
                if advice == .tryAgainAndSay {
                    tell(
                        "flotilla: \(error.sentence); trying again, for \(Self.seconds(request.patience)) seconds at most "
                            + "(--timeout)")
                }
                guard advice == .giveUp else { break }
                bar.clear()
                try keepProgress(&progress, window)
                throw IntoError(Self.exitCode(error), "\(error.sentence); \(resumeHint(window))")
            case .tick:
                let now = clock()
                show(window.answered, progress, keysBefore, now - start)
                guard now - savedAt >= request.saveInterval, window.answered != progress.answered else { break }
                savedAt = now
                try keepProgress(&progress, window)
            case .interrupted(let signal):
                bar.clear()
                try keepProgress(&progress, window)
                throw IntoError(128 + signal, "interrupted; \(resumeHint(window))")
            }
        }
    }

    /// Puts until it is answered, refused, or nobody wants it any more.
    private func send(
        _ number: Int, _ key: [UInt8], _ value: [UInt8], _ isOver: Flag, _ feed: AsyncStream<Event>.Continuation
    ) {
        let (destination, existing, pause) = (destination, request.existing, request.pause)
        Task {
            while !isOver.isSet {
                do throws(DestinationError) {
                    var wasWritten = true
                    switch existing {
                    case .overwrite: try await destination.put(key, value)
                    case .keep: wasWritten = try await destination.putIfAbsent(key, value)
                    }
                    feed.yield(.answered(number, wasWritten: wasWritten))
                    return
                } catch {
                    feed.yield(.failed(error))
                    guard error.mayPass else { return }
                    try? await Task.sleep(for: pause)
                }
            }
        }
    }

    /// Says something where the bar may be.
    private func tell(_ sentence: String) {
        bar.clear()
        say(sentence)
    }

    private func keepProgress(_ progress: inout IntoProgress, _ window: PutWindow) throws(IntoError) {
        progress.answered = window.answered
        let now = progress
        try engine { () throws(EngineError) in try save(now) }
    }

    private func show(
        _ answered: PutWindow.Answered, _ progress: IntoProgress, _ keysBefore: UInt64, _ time: Duration
    ) {
        let rate = UInt64(Double(answered.keys - keysBefore) / max(0.1, time / .seconds(1)))
        let place = answered.last.map { ", shard \($0.shard)" } ?? ""
        bar.show(
            answered.bytes, of: progress.bytesTotal,
            "\(answered.keys) of \(progress.keysTotal) keys, \(humanBytes(answered.bytes)), \(rate) keys/s\(place)")
    }

    private func resumeHint(_ window: PutWindow) -> String {
        "\(window.answered.keys) keys are there; repeat the command to go on (\(request.progressPath))"
    }

    // MARK: - Errors

    private func engine<Result>(_ body: () throws(EngineError) -> Result) throws(IntoError) -> Result {
        do throws(EngineError) { return try body() } catch {
            bar.clear()
            throw IntoError(error)
        }
    }

    /// Asks until there is an answer, or patience ends.
    private func patiently<Result>(
        _ body: () async throws(DestinationError) -> Result
    ) async throws(IntoError) -> Result {
        var patience = Patience(limit: request.patience, at: clock())
        while true {
            do throws(DestinationError) { return try await body() } catch {
                switch error.mayPass ? patience.failed(at: clock()) : .giveUp {
                case .giveUp: throw IntoError(Self.exitCode(error), "\(error.sentence); nothing was written")
                case .tryAgainAndSay:
                    say(
                        "flotilla: \(error.sentence); trying again, for \(Self.seconds(request.patience)) seconds at most "
                            + "(--timeout)")
                case .tryAgain: break
                }
                try? await Task.sleep(for: request.pause)
            }
        }
    }

    private static func exitCode(_ error: DestinationError) -> Int32 {
        (error.code == .unavailable ? Exit.unavailable : Exit.failed).rawValue
    }

    private static func seconds(_ duration: Duration) -> String { (duration / .seconds(1)).formatted() }
}

/// Says to the puts that nobody waits for them any more.
private final class Flag: Sendable {
    private let value = Atomic<Bool>(false)
    var isSet: Bool { value.load(ordering: .relaxed) }
    func set() { value.store(true, ordering: .relaxed) }
}
