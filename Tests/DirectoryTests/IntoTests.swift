import ArgumentParser
import BackupCommands
import Engines
import Foundation
import Inspect
import Keyspace
import Synchronization
import Testing

/// A cluster in memory that fails when it is told to.
private final class StandIn: KeyDestination {
    private struct State {
        var id: String
        var values: [[UInt8]: [UInt8]] = [:]
        var puts = 0
        var failures: [Int: DestinationError] = [:]
    }
    private let state: Mutex<State>

    /// - Parameter failures: of the puts with these numbers, counted from 0.
    init(id: String = "c1", failures: [Int: DestinationError] = [:]) {
        state = Mutex(State(id: id, failures: failures))
    }

    var values: [[UInt8]: [UInt8]] { state.withLock { $0.values } }
    var puts: Int { state.withLock { $0.puts } }
    func set(_ key: String, _ value: String) { state.withLock { $0.values[bytes(key)] = bytes(value) } }

    func clusterID() async throws(DestinationError) -> String { state.withLock { $0.id } }

    func firstKey(withPrefix prefix: [UInt8]) async throws(DestinationError) -> [UInt8]? {
        values.keys.filter { $0.starts(with: prefix) }.min { $0.lexicographicallyPrecedes($1) }
    }

    func put(_ key: [UInt8], _ value: [UInt8]) async throws(DestinationError) {
        let failure = state.withLock { state -> DestinationError? in
            defer { state.puts += 1 }
            if let failure = state.failures[state.puts] { return failure }
            state.values[key] = value
            return nil
        }
        if let failure { throw failure }
    }

    func putIfAbsent(_ key: [UInt8], _ value: [UInt8]) async throws(DestinationError) -> Bool {
        guard values[key] == nil else { return false }
        try await put(key, value)
        return true
    }
}

/// A backup's keys go into a live cluster, and an interrupted restore goes on.
@Suite(.serialized) struct IntoTests {
    private static let expected: [[UInt8]: [UInt8]] = Dictionary(
        uniqueKeysWithValues: SmallCluster.keys.map { (bytes("old/\($0)"), bytes("value of \($0)")) })

    private func withBackup(_ body: (_ backup: String, _ request: IntoRequest) async throws -> Void) async throws {
        try await withTemporaryDirectory { root in
            let cluster = try SmallCluster(root)
            try cluster.backup(to: "\(root)/backup")
            try cluster.close()
            var request = IntoRequest(archive: "\(root)/backup", progressPath: "\(root)/progress")
            request.prefix = bytes("old/")
            request.pause = .zero
            request.saveInterval = .zero
            try await body("\(root)/backup", request)
        }
    }

    private func run(_ request: IntoRequest, _ cluster: StandIn) async throws -> IntoSummary {
        try await IntoRun(request: request, destination: cluster, say: { _ in }).run()
    }

    private func failure(
        of request: IntoRequest, _ cluster: StandIn, _ clock: (() -> Duration)? = nil
    ) async -> IntoError? {
        var run = IntoRun(request: request, destination: cluster, say: { _ in })
        if let clock { run.clock = clock }
        do throws(IntoError) { _ = try await run.run() } catch { return error }
        return nil
    }

    @Test func everyKeyIsPutUnderThePrefixAndNothingElseChanges() async throws {
        try await withBackup { _, request in
            let cluster = StandIn()
            cluster.set("key1", "mine")
            let summary = try await run(request, cluster)
            var expected = Self.expected
            expected[bytes("key1")] = bytes("mine")
            #expect(cluster.values == expected)
            #expect(summary.keys == 60 && summary.kept == 0 && !summary.wasResumed)
            #expect(!FileManager.default.fileExists(atPath: request.progressPath))
        }
    }

    @Test func aPartIsChosenByItsPrefix() async throws {
        try await withBackup { _, request in
            var request = request
            request.onlyPrefix = bytes("key1")
            let cluster = StandIn()
            let chosen = try await run(request, cluster)
            #expect(chosen.keys == 11)
            #expect(cluster.values == Self.expected.filter { $0.key.starts(with: bytes("old/key1")) })
            request.onlyPrefix = bytes("kye")
            let error = await failure(of: request, cluster)
            #expect(error?.exitCode == 1 && error?.sentence.contains("holds no key that begins with \"kye\"") == true)
        }
    }

    @Test func keysThatExistKeepTheirValuesWhenThatIsAskedFor() async throws {
        try await withBackup { _, request in
            var request = request
            request.existing = .keep
            let cluster = StandIn()
            cluster.set("old/key7", "mine")
            let summary = try await run(request, cluster)
            #expect(summary.keys == 60 && summary.kept == 1)
            #expect(cluster.values[bytes("old/key7")] == bytes("mine"))
            #expect(cluster.values[bytes("old/key8")] == bytes("value of key8"))
        }
    }

    @Test func anInterruptedRestoreGoesOnBehindWhatWasAcknowledged() async throws {
        try await withBackup { _, request in
            let interrupted = StandIn(failures: [40: DestinationError(.refused, "no more")])
            let error = await failure(of: request, interrupted)
            #expect(error?.exitCode == 1 && error?.sentence.hasPrefix("no more; ") == true)
            let progress = try #require(try IntoProgress.load(request.progressPath))
            #expect(progress.keysTotal == 60 && progress.answered.keys < 60)
            // Only what isn't known to be there is put again.
            let cluster = StandIn()
            let summary = try await run(request, cluster)
            #expect(summary.wasResumed && summary.keys == 60)
            #expect(UInt64(cluster.puts) == 60 - progress.answered.keys)
            #expect(cluster.values.merging(interrupted.values) { $1 } == Self.expected)
            #expect(!FileManager.default.fileExists(atPath: request.progressPath))
        }
    }

    @Test func anotherRestoreDoesNotGoOnFromTheSameFile() async throws {
        try await withBackup { backup, request in
            _ = await failure(of: request, StandIn(failures: [40: DestinationError(.refused, "no more")]))
            let error = await failure(of: request, StandIn(id: "c2"))
            #expect(error?.exitCode == 1)
            #expect(error?.sentence.contains("is into cluster c1, and this is cluster c2") == true)
            var other = request
            other.prefix = bytes("odl/")
            let cluster = StandIn()
            #expect(await failure(of: other, cluster)?.sentence.contains("is under the prefix \"old/\"") == true)
            other = request
            other.onlyPrefix = bytes("key1")
            #expect(await failure(of: other, cluster)?.sentence.contains("is of all keys") == true)
            other = request
            other.existing = .keep
            #expect(await failure(of: other, cluster)?.sentence.contains("has --existing overwrite") == true)
            #expect(cluster.puts == 0)
        }
    }

    @Test func keysThatWouldBeTooLongAreNamedBeforeTheFirstWrite() async throws {
        try await withBackup { _, request in
            var request = request
            request.prefix = [UInt8](repeating: 0x70, count: 475)
            let cluster = StandIn()
            // "key10" to "key59" have 5 bytes, and fit; of 476 they don't.
            let summary = try await run(request, cluster)
            #expect(summary.keys == 60)
            request.prefix.append(0x70)
            let refusing = StandIn()
            let error = await failure(of: request, refusing)
            #expect(error?.exitCode == 1 && error?.sentence.hasPrefix("with the prefix 50 of 60 keys") == true)
            #expect(error?.sentence.contains("give a prefix of at most 475 bytes") == true)
            #expect(refusing.puts == 0 && !FileManager.default.fileExists(atPath: request.progressPath))
        }
    }

    @Test func damageIsFoundBeforeTheFirstWriteAndNamesTheFile() async throws {
        try await withBackup { backup, request in
            let chunk = "\(backup)/group-101/2/0.chunk"
            try flipBit(of: chunk)
            let cluster = StandIn()
            let error = await failure(of: request, cluster)
            #expect(error?.exitCode == 2 && error?.sentence.contains("group-101/2/0.chunk") == true, "\(error as Any)")
            #expect(error?.sentence.hasSuffix("; nothing was written") == true)
            #expect(cluster.puts == 0)
        }
    }

    @Test func damageSinceThenStopsARestoreThatGoesOn() async throws {
        try await withBackup { backup, request in
            _ = await failure(of: request, StandIn(failures: [10: DestinationError(.refused, "no more")]))
            // The last shards come last.
            for family in 0..<4 { try flipBit(of: "\(backup)/group-101/\(family)/0.chunk") }
            let error = await failure(of: request, StandIn())
            #expect(error?.exitCode == 2 && error?.sentence.contains(".chunk") == true)
            #expect(FileManager.default.fileExists(atPath: request.progressPath))
        }
    }

    private func flipBit(of path: String) throws {
        var data = try Data(contentsOf: URL(fileURLWithPath: path))
        data[data.count / 2] ^= 1
        try data.write(to: URL(fileURLWithPath: path))
    }

    @Test func aClusterThatIsAwayForAWhileIsWaitedFor() async throws {
        try await withBackup { _, request in
            let away = DestinationError(.unavailable, "10.0.0.1:50100 can't be reached")
            let cluster = StandIn(failures: [3: away, 4: away, 5: away, 20: DestinationError(.noSpace, "full")])
            let summary = try await run(request, cluster)
            #expect(summary.keys == 60)
            #expect(cluster.values == Self.expected)
        }
    }

    @Test func aClusterThatStaysAwayIsGivenUpAndCanBeGoneOnWith() async throws {
        try await withBackup { _, request in
            let away = DestinationError(.unavailable, "10.0.0.1:50100 can't be reached")
            let cluster = StandIn(failures: Dictionary(uniqueKeysWithValues: (30..<100_000).map { ($0, away) }))
            let time = Mutex(Duration.zero)
            let error = await failure(of: request, cluster) {
                time.withLock { time in
                    time += .seconds(1)
                    return time
                }
            }
            #expect(error?.exitCode == 69 && error?.sentence.contains("repeat the command to go on") == true)
            let summary = try await run(request, StandIn())
            #expect(summary.wasResumed)
        }
    }

    @Test func theProgressNeverLiesInTheArchive() async throws {
        try await withBackup { backup, request in
            var request = request
            request.progressPath = "\(backup)/progress"
            let error = await failure(of: request, StandIn())
            #expect(error?.exitCode == 1 && error?.sentence.contains("lies in the archive") == true)
        }
    }

    @Test func aDirectoryIsToBeSavedFirst() async throws {
        try await withTemporaryDirectory { root in
            try SmallCluster(root).close()
            let request = IntoRequest(archive: "\(root)/group-100", progressPath: "\(root)/progress")
            let error = await failure(of: request, StandIn())
            #expect(error?.exitCode == 1 && error?.sentence.contains("flotilla snapshot save --from") == true)
        }
    }

    // MARK: - Parts

    @Test func theWindowCountsOnlyWhatHasNoGapBeforeIt() {
        var window = PutWindow()
        let numbers = (0..<4).map { window.begin(.init(shard: 0, key: [UInt8($0)]), bytes: 10) }
        window.finish(numbers[2], wasWritten: true)
        #expect(window.answered == PutWindow.Answered())
        window.finish(numbers[0], wasWritten: false)
        #expect(window.answered == .init(keys: 1, bytes: 10, kept: 1, last: .init(shard: 0, key: [0])))
        window.finish(numbers[1], wasWritten: true)
        #expect(window.answered.keys == 3 && window.answered.last?.key == [2] && !window.isEmpty)
        // A second answer to one put counts for nothing.
        window.finish(numbers[1], wasWritten: true)
        window.finish(numbers[3], wasWritten: true)
        #expect(window.answered.keys == 4 && window.answered.bytes == 40 && window.isEmpty)
    }

    @Test func theWindowIsBoundedInRecordsAndBytes() {
        var window = PutWindow()
        while window.hasRoom { _ = window.begin(.init(shard: 0, key: [1]), bytes: 1) }
        window.finish(1, wasWritten: true)
        #expect(!window.hasRoom)
        window.finish(0, wasWritten: true)
        #expect(window.hasRoom)
        var large = PutWindow()
        _ = large.begin(.init(shard: 0, key: [1]), bytes: PutWindow.bytesMax)
        #expect(!large.hasRoom)
    }

    @Test func thePaceMakesUpForShortPausesOnly() {
        var pacer = Pacer(perSecond: 100)
        var taken = 0
        func takeAll(_ now: Duration) {
            while pacer.isOpen(at: now) {
                pacer.take(at: now)
                taken += 1
            }
        }
        for step in 0..<100 { takeAll(.milliseconds(step * 10)) }
        #expect((100...111).contains(taken))
        taken = 0
        takeAll(.seconds(60))
        #expect((10...12).contains(taken))
        #expect(Pacer(perSecond: nil).isOpen(at: .zero))
    }

    @Test func patienceCountsFromTheLastAnswer() {
        var patience = Patience(limit: .seconds(10), at: .zero)
        #expect(patience.failed(at: .seconds(5)) == .tryAgainAndSay)
        #expect(patience.failed(at: .seconds(6)) == .tryAgain)
        let waited = patience.answered(at: .seconds(9))
        #expect(waited)
        #expect(patience.failed(at: .seconds(18)) == .tryAgainAndSay)
        #expect(patience.failed(at: .seconds(19)) == .giveUp)
    }

    @Test func progressIsReadBackAndDamageToItIsRefused() throws {
        let progress = IntoProgress(
            job: .init(seal: "s 1", clusterID: "c1", prefix: [0, 0xff], onlyPrefix: [], existing: .keep),
            archivePath: "a/b", keysTotal: 10, bytesTotal: 100,
            answered: .init(keys: 3, bytes: 30, kept: 1, last: .init(shard: 5, key: [0xfe, 1])))
        let encoded = try progress.encoded()
        #expect(try IntoProgress(encoded: encoded, "p") == progress)
        for place in encoded.indices {
            var damaged = encoded
            damaged[place] ^= 1
            #expect(throws: EngineError.self) { try IntoProgress(encoded: damaged, "p") }
        }
        #expect(throws: EngineError.self) { try IntoProgress(encoded: Array(encoded.dropLast()), "p") }
        let newer = Array("flotilla-restore 2 5 1\n{}".utf8)
        let error = #expect(throws: EngineError.self) { try IntoProgress(encoded: newer, "p") }
        #expect(error.map { "\($0)" }?.contains("has format 2") == true)
    }

    // MARK: - Options

    private func parse(_ words: String...) throws -> RestoreOptions {
        try RestoreOptions.parse(["--from", "b"] + words)
    }

    @Test func optionsOfTheTwoFormsDoNotMix() throws {
        let into = try parse("--into", "h:1, h:2", "--prefix", "a\\x00/").into
        #expect(into.endpoints == ["h:1", "h:2"])
        let request = into.request(from: "dir/b/")
        #expect(request.prefix == [0x61, 0, 0x2f] && request.archive == "dir/b")
        #expect(request.progressPath == "dir/b.restore-progress")
        #expect(throws: (any Error).self) { try parse() }
        #expect(throws: (any Error).self) { try parse("--out", "o", "--into", "h:1", "--prefix", "p") }
        #expect(throws: (any Error).self) { try parse("--out", "o", "--controllers", "h:1", "--prefix", "p") }
        #expect(throws: (any Error).self) { try parse("--into", "h:1", "--prefix", "p", "--engine", "lmdb") }
        #expect(throws: (any Error).self) { try parse("--out", "o") }
        #expect(throws: (any Error).self) { try parse("--out", "o", "--controllers", "h:1", "-w", "json") }
        #expect(throws: (any Error).self) { try parse("--out", "o", "--controllers", "h:1", "--engine", "memory") }
        #expect(throws: Never.self) { try parse("--out", "o", "--controllers", "h:1", "--group", "100=h:2") }
    }

    @Test func keysGoBackUnderTheirOwnNamesOnlyWhenThatIsSaid() throws {
        #expect(throws: (any Error).self) { try parse("--into", "h:1") }
        #expect(throws: (any Error).self) { try parse("--into", "h:1", "--prefix", "") }
        #expect(throws: (any Error).self) { try parse("--into", "h:1", "--prefix", "p", "--in-place") }
        #expect(try parse("--into", "h:1", "--in-place").into.request(from: "b").prefix.isEmpty)
    }
}
