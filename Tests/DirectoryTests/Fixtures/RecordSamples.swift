import Engines
import Keyspace
import RaftLog
import Sharding

/// One value of each kind that is written in a format of its own, by name.
enum RecordSamples {
    typealias Named<Value> = (name: String, value: Value)

    static let moving = ShardEpoch(shard: 6, epoch: 3)
    private static let life = Incarnation(high: 0x0102_0304_0506_0708, low: 0x1112_1314_1516_1718)
    private static let hashes = ShardHashes(
        user: ContentHash(count: 3, high: 0x0102_0304_0506_0708, low: 9),
        session: ContentHash(count: 1, high: 2, low: 0xffff_ffff_ffff_fff0))
    private static let stamp = SessionStamp(
        token: [UInt8](0..<16), end: 1_700_003_600_000, sequence: 300, lowestUnanswered: 129)

    static let entries = [
        Entry(index: 300, term: 5, kind: .command, stamp: 1_700_000_000_000, payload: [0, 1, 255]),
        Entry(index: 301, term: 6, kind: .opening, stamp: 0, payload: []),
        Entry(
            index: 302, term: 6, kind: .membership, stamp: 0, payload: MembershipChange.remove(ReplicaID(2)).encoded),
    ]

    static let messages: [Named<Message>] = [
        ("request-vote", message(.requestVote(last: LogPosition(index: 300, term: 5), isPreVote: false, force: true))),
        (
            "request-pre-vote",
            message(.requestVote(last: LogPosition(index: 1, term: 1), isPreVote: true, force: false))
        ),
        ("vote", message(.vote(granted: true, isPreVote: false))),
        ("pre-vote-refused", message(.vote(granted: false, isPreVote: true))),
        ("append", message(.append(previous: LogPosition(index: 299, term: 5), entries: entries, commit: 298))),
        ("append-nothing", message(.append(previous: LogPosition(index: 299, term: 5), entries: [], commit: 299))),
        ("appended", message(.appended(match: 302))),
        ("append-rejected", message(.appendRejected(previous: 299, hint: LogPosition(index: 128, term: 4)))),
        ("heartbeat", message(.heartbeat(commit: 301, round: 77))),
        ("heartbeat-reply", message(.heartbeatReply(round: 77))),
        ("campaign-now", message(.timeoutNow)),
    ]

    private static func message(_ body: Message.Body) -> Message {
        Message(
            from: ReplicaID(1), to: ReplicaID(200), fromIncarnation: life, toIncarnation: Incarnation(high: 1, low: 2),
            term: 6, body: body)
    }

    static let changes: [Named<MembershipChange>] = [
        ("add", .add(ReplicaID(3), address: "node3.example:50051", incarnation: life)),
        ("promote", .promote(ReplicaID(3), incarnation: life)),
        ("replace", .replace(ReplicaID(2), address: "[::1]:50052", incarnation: Incarnation(high: 9, low: 9))),
        ("remove", .remove(ReplicaID(2))),
    ]

    static let groupCommands: [Named<GroupCommand>] = [
        ("put", .write(key: [1, 2], .put(value: [3]), stamp)),
        ("put-without-session", .write(key: [1, 2], .put(value: []), nil)),
        ("append", .write(key: [1], .append(value: [4, 5]), stamp)),
        ("delete", .write(key: [1], .delete, stamp)),
        ("compare-and-set", .write(key: [1], .compareAndSet(expected: [6], value: [7]), stamp)),
        ("compare-and-set-absent", .write(key: [1], .compareAndSet(expected: nil, value: nil), nil)),
        ("adopt", .adopt(moving, shardCount: 1024)),
        ("freeze", .freeze(moving, to: 101)),
        ("unfreeze", .unfreeze(moving)),
        ("collect", .collect(moving)),
        (
            "activate",
            .activate(
                moving, Activation(hashes: hashes, logTime: 1_700_000_000_000, shardCount: 64, stagedBy: [life]))
        ),
        ("reject", .reject(moving)),
        ("pass-time", .passTime),
    ]

    static let controllerCommands: [Named<ControllerCommand>] = [
        ("initialize", .initialize(shardCount: 8, clusterID: FixtureNodes.clusterID)),
        ("join", .join([100: ["a:1", "b:1"], 101: ["c:1"]])),
        ("move", .move(shard: 0, to: 101)),
        ("report-activated", .report(shard: 0, epoch: 2, event: .activated)),
        ("report-collected", .report(shard: 0, epoch: 2, event: .collected)),
        ("report-rejected", .report(shard: 1, epoch: 2, event: .rejected)),
        ("relocate", .relocate(101, ["d:1", "e:1"], membershipIndex: 300)),
        ("leave", .leave([102])),
        ("move-out-of-range", .move(shard: 99, to: 101)),
    ]

    /// Not in the log of the nodes that are kept as fixtures: these are older.
    static let holdCommands: [Named<ControllerCommand>] = [
        ("hold", .hold(id: [UInt8](0..<16), holder: "a backup", lasts: 60_000)),
        ("prolong", .prolong(id: [UInt8](0..<16), lasts: 60_000)), ("release", .release(id: [UInt8](0..<16))),
        ("pass-time", .passTime),
    ]

    static let memberships: [Named<Membership>] = [
        (
            "every-standing",
            Membership(
                members: [
                    Member(id: ReplicaID(0), address: "a:1", incarnation: life, standing: .voter),
                    Member(id: ReplicaID(1), address: "b:1", incarnation: life, standing: .joining),
                    Member(id: ReplicaID(300), address: "c:1", incarnation: life, standing: .learner),
                ], index: 299)
        ),
        ("none", .none),
    ]

    static var headers: [Named<SnapshotHeader>] {
        [
            (
                "two-families",
                SnapshotHeader(
                    applied: AppliedState(position: LogPosition(index: 300, term: 5), logTime: 1_700_000_000_000),
                    membership: memberships[0].value,
                    stateRows: [.init(key: [0x40, 1], value: [2, 3]), .init(key: [0x40, 4], value: [])],
                    families: ["shard/1", "shard/2"])
            ),
            (
                "empty",
                SnapshotHeader(
                    applied: AppliedState(position: BootstrapRecord.position, logTime: 0), membership: .none,
                    stateRows: [], families: [])
            ),
        ]
    }

    static var bootstraps: [Named<BootstrapRecord>] {
        [
            ("controller", BootstrapRecord(clusterID: [], gid: 0, membership: memberships[0].value)),
            (
                "group",
                BootstrapRecord(
                    clusterID: [UInt8](0..<16), gid: 100, membership: memberships[0].value, parameters: [1, 2])
            ),
        ]
    }

    static var notes: [Named<RecoveryNote>] {
        [
            (
                "recovery",
                RecoveryNote(
                    time: 1_700_000_000_000, index: 303, applied: LogPosition(index: 300, term: 5),
                    last: LogPosition(index: 302, term: 6), before: memberships[0].value, oldLife: life,
                    life: Incarnation(high: 7, low: 8), missing: ["shard/6/3"])
            )
        ]
    }

    static let hardStates: [Named<HardState>] = [
        ("voted", HardState(term: 300, vote: ReplicaID(2))), ("not-voted", HardState(term: 1)),
    ]

    static var maps: [Named<ShardMap>] {
        var map = ShardMap(
            number: 300, clusterID: [UInt8](0..<16),
            groups: [
                100: .init(addresses: ["a:1", "b:1"], isLeaving: true, membershipIndex: 299),
                101: .init(addresses: ["c:1"]),
            ],
            shards: [
                .init(gid: 0, epoch: 0), .init(gid: 100, epoch: 1),
                .init(gid: 100, epoch: 2, move: .init(from: 100, to: 101, epoch: 3, phase: .moving)),
                .init(gid: 101, epoch: 3, move: .init(from: 100, to: 101, epoch: 3, phase: .collecting)),
                .init(gid: 101, epoch: 4, move: .init(from: 101, to: 100, epoch: 5, phase: .rejected)),
            ])
        map.isBalancePending = true
        return [("every-phase", map)]
    }

    static let holds: [Named<MoveHold>] = [
        (
            "moves-wait",
            MoveHold(id: [UInt8](0..<16), holder: "a backup", until: 1_700_000_060_000, waiting: [6: 100, 0: 101])
        ),
        ("over", MoveHold(id: [UInt8](0..<16), holder: "", until: 0)),
    ]

    static var shardRecords: [Named<ShardRecord>] {
        var serving = ShardRecord(state: .serving, epoch: 300)
        serving.rejectedEpoch = 301
        serving.sessions = 129
        return [
            ("serving", serving), ("frozen", ShardRecord(state: .frozen(to: 101, epoch: 4), epoch: 3)),
            ("gone", ShardRecord(state: .gone, epoch: 5)),
        ]
    }

    static let decisions: [Named<ShardDecision>] = [("activated", .activated(hashes)), ("rejected", .rejected)]
    static let stagedShards: [Named<StagedShard>] = [("staged", StagedShard(hashes: hashes, sessions: 129))]

    static var sessions: [Named<SessionRow>] {
        var row = SessionRow(end: 1_700_003_600_000)
        let replies: [KeyReply] = [
            .put, .appended(length: 300), .deleted(existed: false), .deleted(existed: true),
            .compared(succeeded: false), .compared(succeeded: true),
        ]
        for (number, reply) in replies.enumerated() { row.record(reply, for: UInt64(number) * 100 + 129) }
        row.forget(below: 129)
        return [("every-answer", row), ("new", SessionRow(end: 1))]
    }
}
