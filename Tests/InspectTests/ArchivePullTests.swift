import Engines
import Foundation
import Inspect
import Keyspace
import RaftLog
import Synchronization
import Testing

/// Files of a group come over a line that breaks, and are what was sent; nothing else becomes an archive.
@Suite struct ArchivePullTests {
    /// A group on a memory engine, exported into a directory, with a line that the test breaks.
    private final class Line: GroupExport {
        struct Broken: Error {}
        struct State {
            /// Calls that break, by their number, and how many bytes come before.
            var breaks: [Int: Int] = [:]
            var calls = 0
            var offsets: [UInt64] = []
            var damages = false
            var lost = false
        }

        let role = "group"
        let gid: GroupID = 7
        let nodeId: UInt64 = 2
        let engine = EngineKind.memory
        let servedAs = "leader"
        let header: [UInt8]
        let manifests: [FamilyManifest]
        let directory: String
        let state = Mutex(State())

        init(_ directory: String, values: [String]) throws {
            let engine = MemoryEngine()
            var batch = WriteBatch()
            try engine.createFamily(FamilyID(20))
            try engine.createFamily(FamilyID(21))
            for (number, value) in values.enumerated() {
                batch.put(FamilyID(20), key: Array("key\(number)".utf8), value: Array(value.utf8))
            }
            batch.put(FamilyID(21), key: [1], value: [2])
            try engine.write(batch, durability: .buffered)
            let view = try engine.snapshot()
            var manifests: [FamilyManifest] = []
            for (number, family) in [FamilyID(20), FamilyID(21)].enumerated() {
                let path = "\(directory)/\(number)"
                try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
                manifests.append(try engine.export(family, from: view, format: ChunkFormat.portable, to: path))
            }
            self.manifests = manifests
            self.directory = directory
            header =
                SnapshotHeader(
                    applied: AppliedState(position: LogPosition(index: 9, term: 3), logTime: 1000),
                    membership: Membership(members: []), stateRows: [], families: ["shard/0", "shard/1"]
                ).encoded
        }

        func read(family: Int, file: Int, offset: UInt64, length: UInt64) async throws -> [UInt8] {
            let (breaks, damages, lost) = state.withLock { state -> (Int?, Bool, Bool) in
                state.calls += 1
                state.offsets.append(offset)
                return (state.breaks[state.calls], state.damages, state.lost)
            }
            if lost { throw ExportLost("the export is gone") }
            let path = "\(directory)/\(family)/\(manifests[family].files[file].name)"
            var bytes = try Array(Data(contentsOf: URL(fileURLWithPath: path)))
            if damages { bytes[bytes.count / 2] ^= 1 }
            var piece = Array(bytes[Int(offset)..<min(bytes.count, Int(offset + length))])
            if let breaks {
                guard breaks > 0 else { throw Broken() }
                piece = Array(piece.prefix(breaks))
            }
            return piece
        }
    }

    private static let values = (0..<2000).map { number in String(repeating: "\(number) ", count: 300) }

    private func with(_ body: (_ root: String, _ line: Line) async throws -> Void) async throws {
        let root = FileManager.default.temporaryDirectory.appendingPathComponent("pull-\(UUID().uuidString)").path
        defer { try? FileManager.default.removeItem(atPath: root) }
        try await body(root, Line("\(root)/node", values: Self.values))
    }

    private func manifest(_ kind: ArchiveManifest.Kind = .snapshot, cluster: String = "ab") -> ArchiveManifest {
        ArchiveManifest(kind: kind, clusterId: cluster, createdAtMs: 1, madeBy: "a test")
    }

    /// Time passes only by sleeping.
    private func surroundings(free: UInt64 = .max, slept: @escaping @Sendable (Duration) -> Void = { _ in })
        -> ArchivePull.Surroundings
    {
        let now = NowBox()
        return ArchivePull.Surroundings(
            now: { now.value.withLock { $0 } },
            sleep: { wait in
                slept(wait)
                now.value.withLock { $0 += wait }
            },
            freeBytes: { _ in free })
    }

    private final class NowBox: Sendable { let value = Mutex(Duration.zero) }

    private func save(
        _ line: Line, to out: String, rate: TransferRate = TransferRate(), since earlier: EarlierArchive? = nil,
        _ surroundings: ArchivePull.Surroundings? = nil
    ) async throws -> PullProgress {
        let writer = try ArchiveWriter(out, manifest())
        var pull = ArchivePull(
            into: writer, rate: rate, since: earlier, surroundings: surroundings ?? self.surroundings())
        try await pull.add(line)
        try writer.seal()
        return pull.progress
    }

    /// Every file of the archive is what the node has.
    private func expectSame(_ out: String, _ line: Line) throws {
        let archive = try Archive(out)
        let group = try #require(archive.manifest.groups.first)
        #expect(group.servedAs == "leader" && group.nodeId == 2 && group.appliedIndex == 9)
        #expect(group.families.map(\.manifest) == line.manifests)
        for (number, family) in line.manifests.enumerated() {
            for file in family.files {
                #expect(
                    try Data(contentsOf: URL(fileURLWithPath: "\(out)/group-7/\(number)/\(file.name)"))
                        == Data(contentsOf: URL(fileURLWithPath: "\(line.directory)/\(number)/\(file.name)")))
            }
        }
    }

    @Test func aGroupBecomesASealedArchive() async throws {
        try await with { root, line in
            let progress = try await save(line, to: "\(root)/out")
            try expectSame("\(root)/out", line)
            #expect(progress.resumed == 0 && progress.bytesPulled == line.manifests.reduce(0) { $0 + $1.fileBytes })
        }
    }

    @Test func aFileIsTakenUpWhereTheConnectionBroke() async throws {
        try await with { root, line in
            // The first piece ends after 1000 bytes, and then nobody answers twice.
            line.state.withLock { $0.breaks = [1: 1000, 2: 0, 3: 0] }
            let progress = try await save(line, to: "\(root)/out")
            try expectSame("\(root)/out", line)
            #expect(progress.resumed == 3)
            #expect(Array(line.state.withLock { $0.offsets }.prefix(4)) == [0, 1000, 1000, 1000])
        }
    }

    @Test func aLineThatStaysBrokenIsGivenUp() async throws {
        try await with { root, line in
            line.state.withLock { $0.breaks = Dictionary(uniqueKeysWithValues: (1...1000).map { ($0, 0) }) }
            await #expect(throws: Line.Broken.self) { _ = try await save(line, to: "\(root)/out") }
            #expect(line.state.withLock { $0.calls } == ArchivePull.attemptsMax)
            #expect(!Archive.isArchive("\(root)/out"))
        }
    }

    /// Attempts that take long each don't add up to for ever.
    @Test func aLineThatStaysSilentIsGivenUpInTime() async throws {
        try await with { root, line in
            line.state.withLock { $0.breaks = Dictionary(uniqueKeysWithValues: (1...1000).map { ($0, 0) }) }
            let now = NowBox()
            let slow = ArchivePull.Surroundings(
                now: { now.value.withLock { $0 } },
                sleep: { _ in now.value.withLock { $0 += .seconds(15) } }, freeBytes: { _ in nil })
            await #expect(throws: Line.Broken.self) { _ = try await save(line, to: "\(root)/out", slow) }
            #expect(line.state.withLock { $0.calls } == 5)
        }
    }

    @Test func aGroupThatFailedIsAddedFromAnotherNode() async throws {
        try await with { root, line in
            let writer = try ArchiveWriter("\(root)/out", manifest())
            var pull = ArchivePull(into: writer, surroundings: surroundings())
            line.state.withLock { $0.lost = true }
            await #expect(throws: ExportLost.self) { try await pull.add(line) }
            line.state.withLock { $0.lost = false }
            try await pull.add(line)
            await #expect(throws: EngineError.self) { try await pull.add(line) }
            try writer.seal()
            try expectSame("\(root)/out", line)
        }
    }

    @Test func anExportThatIsGoneIsNotAskedForAgain() async throws {
        try await with { root, line in
            line.state.withLock { $0.lost = true }
            await #expect(throws: ExportLost.self) { _ = try await save(line, to: "\(root)/out") }
            #expect(line.state.withLock { $0.calls } == 1)
        }
    }

    @Test func whatIsNotWhatWasAnnouncedIsNotWritten() async throws {
        try await with { root, line in
            line.state.withLock { $0.damages = true }
            await #expect(throws: EngineError.self) { _ = try await save(line, to: "\(root)/out") }
            #expect(!Archive.isArchive("\(root)/out"))
            #expect(!FileManager.default.fileExists(atPath: "\(root)/out/group-7"))
        }
    }

    @Test func aRateIsKeptByWaiting() async throws {
        try await with { root, line in
            let waited = NowBox()
            let total = line.manifests.reduce(0) { $0 + $1.fileBytes }
            _ = try await save(
                line, to: "\(root)/out", rate: TransferRate(bytesPerSecond: total / 10),
                surroundings { wait in waited.value.withLock { $0 += wait } })
            try expectSame("\(root)/out", line)
            let seconds = waited.value.withLock { $0 }
            #expect(seconds > .seconds(9) && seconds <= .seconds(10), "\(seconds)")
        }
    }

    @Test func whatDoesNotFitIsNotBegun() async throws {
        try await with { root, line in
            await #expect(throws: EngineError.self) {
                _ = try await save(line, to: "\(root)/out", surroundings(free: 1000))
            }
            #expect(line.state.withLock { $0.calls } == 0)
        }
    }

    // MARK: - Since an earlier backup

    @Test func whatHasNotChangedIsTakenFromTheEarlierBackup() async throws {
        try await with { root, line in
            _ = try await save(line, to: "\(root)/first")
            let changed = try Line("\(root)/changed", values: ["another"])
            let progress = try await save(
                changed, to: "\(root)/second", since: EarlierArchive("\(root)/first", clusterId: "ab"))
            #expect(progress.familiesReused == 1 && progress.families == 2)
            #expect(changed.state.withLock { $0.offsets.count } == changed.manifests[0].files.count)
            try expectSame("\(root)/second", changed)
            // It stands alone.
            try FileManager.default.removeItem(atPath: "\(root)/first")
            try expectSame("\(root)/second", changed)
        }
    }

    @Test func whatIsDamagedInTheEarlierBackupComesAnew() async throws {
        try await with { root, line in
            _ = try await save(line, to: "\(root)/first")
            let chunk = "\(root)/first/group-7/1/0.chunk"
            var bytes = try Data(contentsOf: URL(fileURLWithPath: chunk))
            bytes[bytes.count - 1] ^= 1
            try bytes.write(to: URL(fileURLWithPath: chunk))
            let progress = try await save(
                line, to: "\(root)/second", since: EarlierArchive("\(root)/first", clusterId: "ab"))
            #expect(progress.familiesReused == 1)
            try expectSame("\(root)/second", line)
        }
    }

    @Test func aBackupOfAnotherClusterIsRefused() async throws {
        try await with { root, line in
            _ = try await save(line, to: "\(root)/first")
            #expect(throws: EngineError.self) { _ = try EarlierArchive("\(root)/first", clusterId: "cd") }
        }
    }
}
