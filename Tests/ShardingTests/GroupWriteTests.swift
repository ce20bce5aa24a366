import Bytes
import Engines
import Keyspace
import RaftLog
import Sharding
import Testing

/// Writes, and what makes a retried one execute once.
@Suite struct GroupWriteTests {
    typealias Bench = MachineBench<GroupMachine>

    // MARK: - Operations

    @Test func twoAppendsInOneBatchBothCount() throws {
        let bench = try Bench.group()
        let append = GroupCommand.write(key: bytes("k"), .append(value: bytes("x")), nil)
        #expect(try bench.run([append, append, append]) == [1, 2, 3].map { .key(.appended(length: $0)) })
        #expect(try bench.get("k") == "xxx")
    }

    @Test func deleteSaysWhetherTheKeyWasThere() throws {
        let bench = try Bench.group()
        #expect(try bench.write("k", .delete) == .key(.deleted(existed: false)))
        _ = try bench.write("k", .put(value: []))
        #expect(try bench.get("k") == "")
        #expect(try bench.write("k", .delete) == .key(.deleted(existed: true)))
        #expect(try bench.get("k") == nil)
    }

    @Test func compareAndSetTellsAbsentFromEmpty() throws {
        let bench = try Bench.group()
        func cas(_ expected: String?, _ value: String?) throws -> Bool {
            try bench.write("k", .compareAndSet(expected: expected.map(bytes), value: value.map(bytes)))
                == .key(.compared(succeeded: true))
        }
        #expect(try !cas("", "no"))
        #expect(try cas(nil, ""))
        #expect(try !cas(nil, "no"))
        #expect(try cas("", "one"))
        #expect(try !cas("two", "no"))
        #expect(try bench.get("k") == "one")
        #expect(try cas("one", nil))
        #expect(try bench.get("k") == nil)
        #expect(try cas(nil, nil))
    }

    @Test func aKeyBeyondTheLimitsIsRefused() throws {
        let bench = try Bench.group()
        for key in [[], [UInt8](repeating: 1, count: Limits.keyBytesMax + 1)] {
            guard case .refused(.invalid) = try bench.run(.write(key: key, .put(value: []), nil)) else {
                Issue.record("a key of \(key.count) bytes was taken")
                continue
            }
        }
        let longest = [UInt8](repeating: 0xff, count: Limits.keyBytesMax)
        #expect(try bench.run(.write(key: longest, .put(value: [1]), nil)) == .key(.put))
        #expect(try bench.reader.get(longest, shardCount: 4).get() == [1])
    }

    @Test func aValueBeyondTheLimitIsRefusedAndNothingIsHalfWritten() throws {
        let bench = try Bench.group()
        let full = [UInt8](repeating: 7, count: Limits.valueBytesMax)
        #expect(try bench.write("k", .put(value: full)) == .key(.put))
        for operation in [
            KeyOperation.put(value: full + [1]), .append(value: [1]), .compareAndSet(expected: full, value: full + [1]),
        ] {
            guard case .refused(.invalid) = try bench.write("k", operation) else {
                Issue.record("8 MiB + 1 were taken")
                continue
            }
        }
        #expect(try bench.reader.get(bytes("k"), shardCount: 4).get()?.count == full.count)
    }

    @Test func aShardThatIsNotHereIsRefused() throws {
        let bench = try Bench.group(adopting: [0, 1])
        for number in 0..<40 {
            let key = "key \(number)"
            let shard = Slot.shard(of: bytes(key), shardCount: 4)
            let reply = try bench.write(key, .put(value: []))
            #expect(reply == (shard < 2 ? .key(.put) : .refused(.wrongGroup(shard: shard))))
        }
    }

    @Test func aGroupThatHeardOfNoShardRefusesEverything() throws {
        let bench = try MachineBench { GroupMachine() }
        #expect(try bench.write("k", .put(value: [])) == .refused(.wrongGroup(shard: 0)))
        #expect(try bench.reader.shardCount() == nil)
    }

    @Test func aCommandThatCantBeReadIsRefused() throws {
        let bench = try Bench.group()
        for payload: [UInt8] in [[], [0], [99], [1], [1, 1, 2, 2], [6, 0, 0, 0, 0, 0xff]] {
            guard case .refused(.invalid) = try bench.apply([payload])[0] else {
                Issue.record("\(payload) was taken")
                continue
            }
        }
    }

    // MARK: - Exactly once

    @Test func aRetryGetsTheFirstAnswerAndHasNoSecondEffect() throws {
        let bench = try Bench.group()
        let session = TestSession(1, end: bench.now + 60_000)
        let first = try bench.write("k", .append(value: bytes("x")), session.stamp(1))
        _ = try bench.write("k", .append(value: bytes("y")), session.stamp(2))
        #expect(try bench.write("k", .append(value: bytes("x")), session.stamp(1)) == first)
        // In one batch with others, and after a restart.
        let retry = GroupCommand.write(key: bytes("k"), .append(value: bytes("x")), session.stamp(1))
        #expect(try bench.run([retry, retry]) == [first, first])
        try bench.restart()
        #expect(try bench.run(retry) == first)
        #expect(try bench.get("k") == "xy")
    }

    @Test func everyKindOfAnswerIsKept() throws {
        let bench = try Bench.group()
        let session = TestSession(1, end: bench.now + 60_000)
        let operations: [KeyOperation] = [
            .put(value: bytes("a")), .append(value: bytes("b")),
            .compareAndSet(expected: bytes("ab"), value: bytes("c")),
            .compareAndSet(expected: bytes("ab"), value: bytes("d")), .delete, .delete,
        ]
        let stamped = operations.enumerated().map { ($1, session.stamp(UInt64($0) + 1)) }
        let answers = try stamped.map { try bench.write("k", $0.0, $0.1) }
        _ = try bench.write("k", .put(value: bytes("later")))
        try bench.restart()
        #expect(try stamped.map { try bench.write("k", $0.0, $0.1) } == answers)
        #expect(try bench.get("k") == "later")
    }

    @Test func pipelinedWritesMayArriveOutOfOrder() throws {
        let bench = try Bench.group()
        let session = TestSession(1, end: bench.now + 60_000)
        for sequence: UInt64 in [3, 1, 2] {
            _ = try bench.write("k", .append(value: bytes("\(sequence)")), session.stamp(sequence, lowest: 1))
        }
        for sequence: UInt64 in [1, 2, 3] {
            _ = try bench.write("k", .append(value: bytes("\(sequence)")), session.stamp(sequence, lowest: 1))
        }
        #expect(try bench.get("k") == "312")
    }

    @Test func answersBelowTheLowestUnansweredAreForgotten() throws {
        let bench = try Bench.group()
        let session = TestSession(1, end: bench.now + 60_000)
        for sequence in UInt64(1)...5 {
            _ = try bench.write("k", .append(value: bytes("x")), session.stamp(sequence, lowest: sequence))
        }
        guard case .refused(.invalid) = try bench.write("k", .append(value: bytes("x")), session.stamp(2)) else {
            Issue.record("a write whose answer was forgotten was executed again")
            return
        }
        #expect(try bench.get("k") == "xxxxx")
    }

    @Test func aRefusedWriteMayBeTriedAgainUnderItsNumber() throws {
        let bench = try Bench.group()
        let session = TestSession(1, end: bench.now + 60_000)
        let tooLarge = [UInt8](repeating: 0, count: Limits.valueBytesMax + 1)
        guard case .refused = try bench.write("k", .put(value: tooLarge), session.stamp(1)) else {
            Issue.record("taken")
            return
        }
        #expect(try bench.write("k", .put(value: bytes("v")), session.stamp(1)) == .key(.put))
        #expect(try bench.get("k") == "v")
    }

    @Test func aRefusedWriteDoesNotCountItsSessionTwice() throws {
        let bench = try Bench.group(shards: 1)
        let session = TestSession(1, end: bench.now + 1000)
        let tooLarge = [UInt8](repeating: 0, count: Limits.valueBytesMax + 1)
        for _ in 0..<5 { _ = try bench.write("k", .put(value: tooLarge), session.stamp(1)) }
        _ = try bench.write("k", .put(value: []), session.stamp(1))
        #expect(bench.machine.shards[0]?.sessions == 1)
        bench.now += 1000
        try bench.run(.passTime)
        #expect(bench.machine.shards[0]?.sessions == 0)
    }

    // MARK: - The end of a session

    @Test func anExpiredSessionGetsAnExplicitError() throws {
        let bench = try Bench.group()
        let session = TestSession(1, end: bench.now + 1000)
        _ = try bench.write("k", .append(value: bytes("x")), session.stamp(1))
        bench.now += 999
        #expect(try bench.write("k", .append(value: bytes("x")), session.stamp(1)) == .key(.appended(length: 1)))
        bench.now += 1
        // Now, after it was evicted, and for a new write too.
        for _ in 0..<2 {
            for sequence: UInt64 in [1, 2] {
                let reply = try bench.write("k", .append(value: bytes("x")), session.stamp(sequence))
                #expect(reply == .refused(.sessionExpired(logTime: bench.now)))
            }
            try bench.run(.passTime)
        }
        #expect(try bench.get("k") == "x")
        #expect(try bench.reader.firstSessionEnd(Slot.shard(of: bytes("k"), shardCount: 4)) == nil)
    }

    @Test func logTimeNeverGoesBack() throws {
        let bench = try Bench.group()
        let session = TestSession(1, end: bench.now + 1000)
        bench.now += 2000
        try bench.run(.passTime)
        // A new leader's clock is behind.
        bench.now -= 5000
        let reply = try bench.write("k", .put(value: []), session.stamp(1))
        #expect(reply == .refused(.sessionExpired(logTime: bench.now + 5000)))
    }

    @Test func aSessionEndsWithinADay() throws {
        let bench = try Bench.group()
        let session = TestSession(1, end: bench.now + SessionLimits.lifetimeMax + 1)
        let reply = try bench.write("k", .put(value: []), session.stamp(1))
        #expect(reply == .refused(.sessionTooLong(logTime: bench.now)), "the answer says from where to count")
    }

    @Test func aTokenHasSixteenBytes() throws {
        let bench = try Bench.group()
        var session = TestSession(1, end: bench.now + 1000)
        session.token = [1, 2, 3]
        guard case .refused(.invalid) = try bench.write("k", .put(value: []), session.stamp(1)) else {
            Issue.record("a short token was taken")
            return
        }
    }

    // MARK: - Bounds

    @Test func atTheBoundNewSessionsAreBusyAndLiveOnesStay() throws {
        let bench = try Bench.group(shards: 1)
        let end = bench.now + 10_000
        func token(_ number: Int) -> [UInt8] { bigEndianBytes(0) + bigEndianBytes(UInt64(number)) }
        func write(_ number: Int, end: Milliseconds) -> GroupCommand {
            .write(
                key: bytes("k"), .append(value: []),
                SessionStamp(token: token(number), end: end, sequence: 1, lowestUnanswered: 1))
        }
        for start in stride(from: 0, to: SessionLimits.sessionsMax, by: 1024) {
            _ = try bench.run((start..<start + 1024).map { write($0, end: end) })
        }
        #expect(bench.machine.shards[0]?.sessions == SessionLimits.sessionsMax)
        guard case .refused(.busy) = try bench.run(write(-1 & 0xffff_ffff, end: end)) else {
            Issue.record("one session too many")
            return
        }
        #expect(try bench.run(write(5, end: end)) == .key(.appended(length: 0)), "a live one is still known")
        // When they have ended there is room.
        bench.now = end
        #expect(try bench.run(write(99_999, end: end + 1000)) == .key(.appended(length: 0)))
    }

    @Test func oneClientCannotTakeAllSessions() throws {
        let bench = try Bench.group(shards: 1)
        func write(_ number: Int, from origin: UInt32) -> GroupCommand {
            let token = bigEndianBytes(UInt64(origin)) + bigEndianBytes(UInt64(number))
            return .write(
                key: bytes("k"), .append(value: []),
                SessionStamp(token: token, end: bench.now + 10_000, sequence: 1, lowestUnanswered: 1, origin: origin))
        }
        let replies = try bench.run((0...SessionLimits.sessionsOfOriginMax).map { write($0, from: 7) })
        #expect(replies.dropLast().allSatisfy { $0 == .key(.appended(length: 0)) })
        guard case .refused(.busy(let why)) = replies.last else {
            Issue.record("one session too many")
            return
        }
        #expect(why.contains("address"))
        #expect(try bench.run(write(0, from: 8)) == .key(.appended(length: 0)), "another client has room")
        try bench.restart()
        guard case .refused(.busy) = try bench.run(write(9_999, from: 7)) else {
            Issue.record("a restart forgot whose sessions there are")
            return
        }
    }

    @Test func aClosedSessionMakesRoomAndItsWritesStayRefused() throws {
        let bench = try Bench.group(shards: 1)
        let session = TestSession(1, end: bench.now + 24 * 3_600_000)
        _ = try bench.write("k", .append(value: bytes("x")), session.stamp(1))
        #expect(bench.machine.shards[0]?.sessions == 1)
        try bench.run(.closeSession(0, token: session.token))
        #expect(bench.machine.shards[0]?.sessions == 0)
        try bench.restart()
        // A copy of a write that was on its way.
        let reply = try bench.write("k", .append(value: bytes("x")), session.stamp(1))
        #expect(reply == .refused(.sessionExpired(logTime: bench.now)))
        #expect(try bench.get("k", shards: 1) == "x")
        let end = try bench.reader.firstSessionEnd(0)
        #expect(end == bench.now + SessionLimits.closedLifetime)
        bench.now += SessionLimits.closedLifetime
        try bench.run(.passTime)
        #expect(try bench.reader.firstSessionEnd(0) == nil)
        try bench.run(.closeSession(0, token: [9]))
    }

    @Test func aSessionThatDoesNotFitTheLogsTimeIsToldTheTime() throws {
        let bench = try Bench.group(shards: 1)
        // A clock was a year ahead once.
        bench.now += 365 * 86_400_000
        try bench.run(.passTime)
        let poisoned = bench.now
        bench.now -= 365 * 86_400_000
        let session = TestSession(1, end: bench.now + 60_000)
        #expect(
            try bench.write("k", .put(value: []), session.stamp(1)) == .refused(.sessionExpired(logTime: poisoned)))
        let fitting = TestSession(2, end: poisoned + 60_000)
        #expect(try bench.write("k", .put(value: []), fitting.stamp(1)) == .key(.put))
    }

    /// Or the client could never acknowledge the others.
    @Test func theLowestUnansweredWriteFindsRoomInAFullRow() throws {
        let bench = try Bench.group(shards: 1)
        let session = TestSession(1, end: bench.now + 1000)
        func append(_ sequence: UInt64) -> GroupCommand {
            .write(key: bytes("k"), .append(value: [1]), session.stamp(sequence, lowest: 1))
        }
        let replies = try bench.run((2...5_000).map { append($0) })
        guard case .refused(.busy)? = replies.last else {
            Issue.record("\(replies.count) answers are kept")
            return
        }
        guard case .key(.appended) = try bench.run(append(1)) else {
            Issue.record("the lowest is refused")
            return
        }
    }

    /// Numbers far apart and long answers make a row long; a row that stays short for ever costs what its answers do.
    @Test(arguments: [UInt64(1), 1 << 20, 1 << 50])
    func aSessionsRowIsBoundedInBytes(stride: UInt64) throws {
        let bench = try Bench.group(shards: 1)
        let session = TestSession(1, end: bench.now + 1000)
        let commands = (1...5_000).map {
            GroupCommand.write(
                key: bytes("k"), .append(value: [1]), session.stamp(UInt64($0) * stride, lowest: 1))
        }
        let replies = try bench.run(commands)
        let answered = replies.prefix { if case .key = $0 { true } else { false } }
        #expect((380...2_800).contains(answered.count))
        for reply in replies.dropFirst(answered.count) {
            guard case .refused(.busy) = reply else {
                Issue.record("\(reply)")
                return
            }
        }
        var row = SessionRow(end: 1)
        for (index, reply) in answered.enumerated() {
            guard case .key(let answer) = reply else { continue }
            row.record(answer, for: UInt64(index + 1) * stride)
        }
        #expect(row.encoded.count <= SessionLimits.answerBytesMax)
        // An answer that the client has gives its place to another.
        let next = GroupCommand.write(
            key: bytes("k"), .append(value: [1]), session.stamp(6_000 * stride, lowest: 2 * stride))
        #expect(try bench.run([next]) == [.key(.appended(length: answered.count + 1))])
    }
}
