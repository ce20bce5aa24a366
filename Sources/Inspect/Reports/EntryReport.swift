public import Engines
public import Keyspace
internal import RaftLog
internal import Sharding

/// One entry of a group's log, decoded (docs/inspect.md).
public struct EntryReport: Encodable, Sendable {
    public var index: UInt64
    public var term: UInt64
    /// "command", "opening" or "membership".
    public var kind: String
    /// Unix milliseconds; 0 in entries without one.
    public var stampMs: UInt64
    /// Bytes of the command.
    public var bytes: Int
    /// What it does: "put", "append", "freeze", "join", …; "unreadable" for a command that every replica refuses.
    public var action: String
    public var key: [UInt8]?
    public var valueBytes: Int?
    public var session: String?
    public var sequence: UInt64?
    public var shard: ShardID?
    public var epoch: UInt64?
    /// The rest, in words.
    public var detail: String?

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: BytesKey.self)
        try container.encode(index, "index")
        try container.encode(term, "term")
        try container.encode(kind, "kind")
        try container.encode(stampMs, "stampMs")
        try container.encode(bytes, "bytes")
        try container.encode(action, "action")
        try container.encodeBytes(key, "key")
        try container.encode(valueBytes, "valueBytes")
        try container.encode(session, "session")
        try container.encode(sequence, "sequence")
        try container.encode(shard, "shard")
        try container.encode(epoch, "epoch")
        try container.encode(detail, "detail")
    }

    /// Shows the entries of a group's log in order, until `body` returns false.
    public static func scan(
        _ group: InspectedGroup, from lower: UInt64, through upper: UInt64,
        _ progress: ReadProgress = ReadProgress(), _ body: (EntryReport) -> Bool
    ) throws(EngineError) {
        guard group.hasLog else {
            throw .mismatch("a snapshot or backup has no log; name the directory of a stopped node, or a copy of one")
        }
        progress.enter("\(group.layout.log) (the log of \(group.title))")
        try group.layout.scanLog(from: lower, through: upper, in: group.view) { row in
            progress.count(row.rowBytes)
            return body(EntryReport(row, isController: group.isController))
        }
    }

    init(_ row: LogRow, isController: Bool) {
        index = row.index
        term = row.term
        stampMs = row.stamp
        bytes = row.payload.count
        let payload = Array(row.payload)
        switch row.kind {
        case .opening: (kind, action) = ("opening", "opening")
        case .membership:
            (kind, action) = ("membership", "unreadable")
            if let change = try? MembershipChange(encoded: payload) { describe(change) }
        case .command:
            (kind, action) = ("command", "unreadable")
            if isController {
                if let (_, command) = try? ControllerCommand.decode(payload) { describe(command) }
            } else if let command = try? GroupCommand(encoded: payload) {
                describe(command)
            }
        }
    }

    private mutating func describe(_ change: MembershipChange) {
        switch change {
        case .add(let id, let address, let incarnation):
            (action, detail) = ("add", "member \(id) at \(address), incarnation \(incarnation)")
        case .remove(let id): (action, detail) = ("remove", "member \(id)")
        case .replace(let id, let address, let incarnation):
            (action, detail) = ("replace", "member \(id) at \(address), incarnation \(incarnation)")
        case .promote(let id, let incarnation):
            (action, detail) = ("promote", "member \(id), incarnation \(incarnation)")
        }
    }

    private mutating func describe(_ command: GroupCommand) {
        func step(_ name: String, _ shard: ShardEpoch) {
            action = name
            self.shard = shard.shard
            epoch = shard.epoch
        }
        switch command {
        case .write(let key, let operation, let stamp):
            self.key = key
            session = stamp.map { BytesText.hex($0.token) }
            sequence = stamp?.sequence
            switch operation {
            case .put(let value): (action, valueBytes) = ("put", value.count)
            case .append(let value): (action, valueBytes) = ("append", value.count)
            case .delete: action = "delete"
            case .compareAndSet(let expected, let value):
                (action, valueBytes) = ("cas", value?.count)
                let condition = expected.map { "it has \($0.count) bytes as given" } ?? "it is absent"
                detail = value == nil ? "delete if \(condition)" : "if \(condition)"
            }
        case .adopt(let shard, let count):
            step("adopt", shard)
            detail = "of \(count) shards"
        case .prepare(let shard, let target):
            step("prepare", shard)
            detail = "for group \(target)"
        case .freeze(let shard, let target):
            step("freeze", shard)
            detail = "for group \(target)"
        case .unfreeze(let shard): step("unfreeze", shard)
        case .collect(let shard): step("collect", shard)
        case .activate(let shard, let activation):
            step("activate", shard)
            detail = "content hash \(activation.hashes.user), staged by \(activation.stagedBy.count)"
        case .expect(let shard): step("expect", shard)
        case .reject(let shard): step("reject", shard)
        case .closeSession(let shard, let token):
            action = "closeSession"
            self.shard = shard
            session = BytesText.hex(token)
        case .passTime: action = "passTime"
        case .abandon(let shard): step("abandon", shard)
        case .thaw(let shard): step("thaw", shard)
        }
    }

    private mutating func describe(_ command: ControllerCommand) {
        switch command {
        case .initialize(let count, let cluster):
            (action, detail) = ("initialize", "\(count) shards, cluster \(BytesText.hex(cluster))")
        case .join(let groups):
            let list = groups.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value.joined(separator: ","))" }
            (action, detail) = ("join", list.joined(separator: " "))
        case .leave(let gids): (action, detail) = ("leave", gids.map { "group \($0)" }.joined(separator: ", "))
        case .move(let shard, let gid):
            (action, detail) = ("move", "to group \(gid)")
            self.shard = shard
        case .report(let shard, let epoch, let event):
            action = "report"
            self.shard = shard
            self.epoch = epoch
            detail =
                switch event {
                case .activated: "activated"
                case .rejected: "rejected"
                case .collected: "collected"
                }
        case .relocate(let gid, let addresses, let index, let identity):
            let who = identity.isEmpty ? "" : ", identity \(BytesText.hex(identity))"
            (action, detail) = (
                "relocate", "group \(gid) at \(addresses.joined(separator: ",")), membership \(index)\(who)"
            )
        case .abort(let shard, let isForced):
            (action, detail) = ("abort", isForced ? "by force" : nil)
            self.shard = shard
        case .giveUp(let gid): (action, detail) = ("giveUp", "what group \(gid) had")
        case .hold(let id, let holder, let lasts):
            (action, detail) = ("hold", "moves, \(BytesText.hex(id)) for \(holder), \(lasts) ms")
        case .prolong(let id, let lasts): (action, detail) = ("prolong", "\(BytesText.hex(id)), \(lasts) ms")
        case .release(let id): (action, detail) = ("release", BytesText.hex(id))
        case .passTime: action = "passTime"
        }
    }
}
