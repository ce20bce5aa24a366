import Engines
import RaftLog
import Sharding
import Testing

/// How families come from whoever has them.
@Suite struct TransferPlanTests {
    private static let room: UInt64 = 1 << 30

    private static func manifest(_ files: [(String, UInt64)], crc: UInt32 = 7) -> FamilyManifest {
        FamilyManifest(
            format: "f", files: files.map { FamilyManifest.File(name: $0.0, bytes: $0.1, crc32c: crc) }, keys: 1,
            bytes: 1,
            firstKey: [1], lastKey: [1], contentHash: "h")
    }

    private static func offer(_ export: UInt64 = 1, _ files: [(String, UInt64)] = [("a", 100)], crc: UInt32 = 7)
        -> TransferPlan.Offer
    {
        TransferPlan.Offer(export: export, header: [9], manifests: [manifest(files, crc: crc)])
    }

    private static let (one, two) = ("127.0.0.1:1", "127.0.0.1:2")

    private static func plan(_ addresses: [String] = [one, two], rate: UInt64? = nil) -> TransferPlan {
        TransferPlan(from: addresses, of: "group 5", rate: rate)
    }

    private static func opening(_ steps: [TransferPlan.Step]) -> (turn: UInt64, address: String)? {
        for step in steps { if case .open(let turn, let address) = step { return (turn, address) } }
        return nil
    }

    private static func part(_ steps: [TransferPlan.Step]) -> TransferPlan.Part? {
        for step in steps { if case .read(let part) = step { return part } }
        return nil
    }

    private static func failure(_ steps: [TransferPlan.Step]) -> String? {
        for step in steps { if case .failed(let sentence) = step { return sentence } }
        return nil
    }

    /// A plan that reads the first file of `offer`.
    private static func reading(
        _ offer: TransferPlan.Offer = offer(), from addresses: [String] = [one, two], rate: UInt64? = nil
    ) throws -> (plan: TransferPlan, part: TransferPlan.Part) {
        var plan = Self.plan(addresses, rate: rate)
        let turn = try #require(Self.opening(plan.begin(now: 0))).turn
        let part = try #require(Self.part(plan.opened(offer, turn: turn, room: room, now: 1)))
        return (plan, part)
    }

    @Test func filesComeOneAfterAnotherAndTheExportGoes() throws {
        var plan = Self.plan()
        let steps = plan.begin(now: 0)
        #expect(steps == [.open(turn: 1, address: Self.one)])
        let offer = Self.offer(3, [("a", 100), ("empty", 0), ("b", 50)])
        let first = plan.opened(offer, turn: 1, room: Self.room, now: 1)
        #expect(first.first == .arrange(families: 1, keeping: []))
        var part = try #require(Self.part(first))
        var order: [String] = []
        var last: [TransferPlan.Step] = []
        for _ in 0..<3 {
            order.append(part.place.name)
            if part.bytes > 0 { #expect(plan.received(part.bytes, turn: part.turn, now: 2) == 0) }
            last = plan.ended(turn: part.turn, now: 3)
            if let next = Self.part(last) { part = next }
        }
        #expect(order == ["a", "empty", "b"])
        #expect(last == [.close(address: Self.one, export: 3), .done(header: [9], offer.manifests)])
        #expect(plan.copied == 150 && plan.total == 150 && plan.wakeAt == nil)
    }

    @Test func aConnectionThatBreaksIsTakenUpWhereItBroke() throws {
        var (plan, part) = try Self.reading()
        _ = plan.received(40, turn: part.turn, now: 10)
        #expect(plan.broke("cut", isForgotten: false, turn: part.turn, now: 20) == [])
        let again = try #require(plan.wakeAt)
        #expect(plan.woken(now: again - 1) == [])
        let next = try #require(Self.part(plan.woken(now: again)))
        #expect(next.offset == 40 && next.turn != part.turn && next.place == part.place)
        #expect(plan.received(10, turn: part.turn, now: again) == nil, "of the one that broke")
        part = next
        #expect(plan.received(60, turn: part.turn, now: again + 1) == 0)
        #expect(plan.ended(turn: part.turn, now: again + 2).count == 2)
    }

    @Test func whatHasComeStaysIfTheNextSourceHasTheSame() throws {
        var (plan, part) = try Self.reading(Self.offer(1, [("a", 100), ("b", 100)]))
        _ = plan.received(100, turn: part.turn, now: 10)
        part = try #require(Self.part(plan.ended(turn: part.turn, now: 11)))
        _ = plan.received(30, turn: part.turn, now: 12)
        let steps = plan.broke("no such export", isForgotten: true, turn: part.turn, now: 13)
        let second = try #require(Self.opening(steps))
        #expect(second.address == Self.two && steps.contains(.close(address: Self.one, export: 1)))
        let same = plan.opened(Self.offer(2, [("a", 100), ("b", 100)]), turn: second.turn, room: Self.room, now: 14)
        #expect(
            same.first == .arrange(families: 1, keeping: [.init(family: 0, name: "a"), .init(family: 0, name: "b")]))
        let rest = try #require(Self.part(same))
        #expect(rest.place.name == "b" && rest.offset == 30 && rest.export == 2 && rest.address == Self.two)
    }

    @Test func whatTheNextSourceHasOtherwiseGoes() throws {
        var (plan, part) = try Self.reading()
        _ = plan.received(40, turn: part.turn, now: 10)
        let second = try #require(
            Self.opening(plan.broke("no such export", isForgotten: true, turn: part.turn, now: 13)))
        let steps = plan.opened(Self.offer(2, crc: 8), turn: second.turn, room: Self.room, now: 14)
        #expect(steps.first == .arrange(families: 1, keeping: []))
        #expect(Self.part(steps)?.offset == 0 && plan.copied == 0)
    }

    /// A process that is paused keeps its connections open. One that sends bytes, however slowly, needs no answers.
    @Test func aSourceThatFallsSilentIsGivenUpAndOneThatIsSlowIsNot() throws {
        var (plan, part) = try Self.reading(Self.offer(1, [("a", 1_000)]))
        var now: Milliseconds = 1
        // Bytes come every 400 ms, and no answer to any question.
        for _ in 0..<20 {
            now += 400
            #expect(plan.woken(now: now) == [])
            _ = plan.received(1, turn: part.turn, now: now)
        }
        now += 500
        #expect(plan.woken(now: now) == [.probe(address: Self.one)])
        #expect(plan.woken(now: now) == [], "it is being asked")
        #expect(plan.probed(isAlive: false, at: Self.one, now: now + 1_000) == [.probe(address: Self.one)])
        let steps = plan.probed(isAlive: false, at: Self.one, now: now + 2_000)
        #expect(steps.first == .stop(turn: part.turn))
        #expect(Self.opening(steps)?.address == Self.two)
        // Nothing of the first is heard any more.
        #expect(plan.ended(turn: part.turn, now: now) == [] && plan.received(1, turn: part.turn, now: now) == nil)
        part.turn = 0
    }

    @Test func aSourceThatAnswersAndSendsNothingIsTakenUpAgain() throws {
        var (plan, part) = try Self.reading()
        var now: Milliseconds = 1
        var steps: [TransferPlan.Step] = []
        for _ in 0..<100 {
            now = max(now, plan.wakeAt ?? now)
            steps = plan.woken(now: now)
            if steps == [.probe(address: Self.one)] {
                #expect(plan.probed(isAlive: true, at: Self.one, now: now + 1) == [])
                continue
            }
            break
        }
        #expect(steps == [.stop(turn: part.turn)])
        #expect(now >= 15_000 && now <= 16_000)
        let again = try #require(Self.part(plan.woken(now: plan.wakeAt ?? 0)))
        #expect(again.address == Self.one && again.offset == 0)
        part = again
    }

    @Test func whoeverRefusesIsPassedOverAndTheLastReasonIsTold() throws {
        var plan = Self.plan(["nowhere", Self.one, Self.two])
        var turn = try #require(Self.opening(plan.begin(now: 0)))
        #expect(turn.address == Self.one, "what is no address isn't asked")
        turn = try #require(Self.opening(plan.notOpened("it is starting", turn: turn.turn, now: 1)))
        #expect(turn.address == Self.two)
        let sentence = try #require(Self.failure(plan.notOpened("no room", turn: turn.turn, now: 2)))
        #expect(sentence == "group 5's node at \(Self.two): no room")
        #expect(plan.wakeAt == nil && plan.woken(now: 10_000_000) == [])
        var nobody = Self.plan([])
        #expect(Self.failure(nobody.begin(now: 0)) == "group 5 has no members")
    }

    @Test(arguments: ["", ".", "..", "../x", "a/b", "/etc/passwd", "a\0b"])
    func aNameThatLeadsElsewhereIsNotWrittenTo(name: String) throws {
        var plan = Self.plan([Self.one])
        _ = plan.begin(now: 0)
        let steps = plan.opened(Self.offer(1, [("ok", 1), (name, 1)]), turn: 1, room: Self.room, now: 1)
        #expect(Self.failure(steps)?.contains("file name") == true)
        #expect(steps.first == .close(address: Self.one, export: 1))
    }

    @Test func whatDoesNotFitIsNotBegun() throws {
        for (files, room) in [([("a", UInt64(600))], UInt64(1_000)), ([("a", .max), ("b", 2)], .max)] {
            var plan = Self.plan([Self.one])
            _ = plan.begin(now: 0)
            let steps = plan.opened(Self.offer(1, files), turn: 1, room: room, now: 1)
            #expect(Self.failure(steps)?.contains("are free") == true)
        }
    }

    @Test func moreThanWasAnnouncedIsNotTaken() throws {
        var (plan, part) = try Self.reading(from: [Self.one])
        #expect(plan.received(101, turn: part.turn, now: 1) == nil)
        let steps = plan.ended(turn: part.turn, now: 2)
        #expect(Self.failure(steps)?.contains("more than 100 bytes") == true)
        part.turn = 0
    }

    @Test func bytesAreTakenAsFastAsTheRateAllows() throws {
        var (plan, part) = try Self.reading(Self.offer(1, [("a", 10_000)]), rate: 1_000)
        var now: Milliseconds = 0
        for _ in 0..<10 {
            let wait = plan.received(1_000, turn: part.turn, now: now) ?? 0
            now += wait
        }
        #expect(now == 10_000)
        part.turn = 0
    }

    @Test func whatIsNotWantedAnyMoreEnds() throws {
        var (plan, part) = try Self.reading()
        let steps = plan.cancelled("another transfer took its place")
        #expect(
            steps == [
                .stop(turn: part.turn), .close(address: Self.one, export: 1),
                .failed("another transfer took its place"),
            ])
        #expect(plan.cancelled("again") == [])
        // An export that comes too late goes, at whoever made it.
        var late = Self.plan()
        _ = late.begin(now: 0)
        #expect(Self.opening(late.woken(now: 600_000))?.address == Self.two)
        #expect(
            late.opened(Self.offer(7), turn: 1, room: Self.room, now: 600_001) == [
                .close(address: Self.one, export: 7)
            ])
        var other = Self.plan()
        _ = other.begin(now: 0)
        _ = other.cancelled("x")
        #expect(other.opened(Self.offer(), turn: 1, room: Self.room, now: 1) == [.close(address: Self.one, export: 1)])
        part.turn = 0
    }

    /// Sources that refuse, forget, break, lie about lengths, fall silent and differ: the plan ends, and when it is done
    /// every file is what one and the same source has.
    @Test(arguments: UInt64(1)...300) func itEndsWithTheFilesOfOneSourceWhateverFails(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &random) < percent }
        let addresses = (1...Int.random(in: 1...4, using: &random)).map { "127.0.0.1:\($0)" }
        let files = (0..<Int.random(in: 0...4, using: &random)).map {
            ("f\($0)", UInt64.random(in: 0...500, using: &random))
        }
        var offers: [String: TransferPlan.Offer] = [:]
        for (number, address) in addresses.enumerated() {
            offers[address] = Self.offer(UInt64(number), files, crc: chance(70) ? 1 : UInt32(number + 2))
        }
        let isCalm = chance(20)
        var plan = TransferPlan(from: addresses, of: "group 5")
        var now: Milliseconds = 0
        /// Of whom each byte on the disk is.
        var disk: [TransferPlan.Place: [UInt32]] = [:]
        var steps = plan.begin(now: now)
        var current: TransferPlan.Step?
        var probes: [String] = []
        var isDone = false
        for _ in 0..<20_000 where !isDone {
            for step in steps {
                switch step {
                case .open, .read: current = step
                case .stop: current = nil
                case .arrange(_, let keeping): disk = disk.filter { keeping.contains($0.key) }
                case .probe(let address): probes.append(address)
                case .close: break
                case .done(_, let manifests):
                    isDone = true
                    for (family, manifest) in manifests.enumerated() {
                        for file in manifest.files {
                            let found = disk[.init(family: family, name: file.name)]
                            #expect(found?.count == Int(file.bytes), "seed \(seed): \(file.name)")
                            #expect(found?.allSatisfy { $0 == file.crc32c } != false, "seed \(seed): a mixture")
                        }
                    }
                case .failed:
                    isDone = true
                    #expect(!isCalm, "seed \(seed): nothing has failed")
                }
            }
            steps = []
            if isDone { break }
            now += Milliseconds.random(in: 0...300, using: &random)
            if let address = probes.popLast() {
                steps = plan.probed(isAlive: isCalm || chance(70), at: address, now: now)
                continue
            }
            switch current {
            case .open(let turn, let address)? where isCalm || chance(60):
                current = nil
                guard let offer = offers[address] else { break }
                steps =
                    isCalm || chance(80)
                    ? plan.opened(offer, turn: turn, room: Self.room, now: now)
                    : plan.notOpened("no", turn: turn, now: now)
            case .read(let part)? where isCalm || chance(60):
                let crc = offers[part.address]?.manifests[0].files[part.file].crc32c ?? 0
                var bytes = disk[part.place] ?? []
                if UInt64(bytes.count) < part.offset { Issue.record("seed \(seed): a hole") }
                let more = Int.random(in: 0...200, using: &random)
                let count = min(Int(part.bytes) - bytes.count, more) + (!isCalm && chance(1) ? 9 : 0)
                bytes += [UInt32](repeating: crc, count: max(0, count))
                disk[part.place] = bytes
                let wait = count > 0 ? plan.received(UInt64(count), turn: part.turn, now: now) : 0
                if !isCalm, chance(10) {
                    current = nil
                    steps = plan.broke("cut", isForgotten: chance(20), turn: part.turn, now: now)
                } else if bytes.count >= Int(part.bytes) || wait == nil {
                    current = nil
                    steps = plan.ended(turn: part.turn, now: now)
                }
            default:
                if let at = plan.wakeAt, at <= now || current == nil {
                    now = max(now, at)
                    steps = plan.woken(now: now)
                }
            }
        }
        #expect(isDone, "seed \(seed): it doesn't end")
    }
}
