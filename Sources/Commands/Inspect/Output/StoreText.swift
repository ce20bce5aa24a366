internal import CommandSupport
internal import Engines
internal import Foundation
internal import Inspect
internal import Keyspace

/// A `StoreReport` for people.
struct StoreText {
    private let report: StoreReport
    private let hex: HexOption

    init(_ report: StoreReport, hex: HexOption) {
        self.report = report
        self.hex = hex
    }

    var text: String {
        var text = facts(
            [
                ("path", report.path),
                (
                    "kind",
                    report.kind.rawValue + (report.isSealed ? ", sealed" : "")
                        + (report.isCopy == true ? ", a copy" : "")
                ),
                ("format", report.format.map { "\($0)" }),
                ("engine", report.engine?.rawValue),
                ("cluster", report.clusterId),
                ("incarnation", report.incarnation),
                ("moved to", report.movedTo),
                ("made", report.createdAtMs.map(Self.time)),
                ("made by", report.madeBy),
                ("config", report.configNumber.map { "\($0)" }),
            ])
        for group in report.groups { text += "\n" + self.group(group) }
        return text
    }

    private func facts(_ facts: [(String, String?)], indent: String = "") -> String {
        let present = facts.compactMap { name, value in value.map { (name, $0) } }
        let width = present.map(\.0.count).max() ?? 0
        return present.map { name, value in
            "\(indent)\(name)\(String(repeating: " ", count: width - name.count))  \(value)\n"
        }.joined()
    }

    private func group(_ group: GroupReport) -> String {
        let name = group.role == "controller" ? "controller" : "group \(group.gid)"
        var text = name + (group.nodeId.map { ", node \($0)" } ?? "") + (group.engine.map { " on \($0)" } ?? "") + "\n"
        text += facts(
            [
                ("term", group.term.map { "\($0), vote \(group.vote.map { "\($0)" } ?? "for none")" }),
                ("applied", "\(group.applied.index), term \(group.applied.term)"),
                ("log time", group.logTimeMs == 0 ? "none yet" : Self.time(group.logTimeMs)),
                ("log", group.log.map(log)),
                ("members", "\(group.members.count), as of entry \(group.membershipIndex)"),
            ], indent: "  ")
        text += members(group)
        if let map = group.map { text += self.map(map) }
        if let shards = group.shards { text += self.shards(shards, of: group.shardCount) }
        if let staged = group.staged, !staged.isEmpty { text += self.staged(staged) }
        if let decisions = group.decisions, !decisions.isEmpty { text += self.decisions(decisions) }
        return text
    }

    private func log(_ log: GroupReport.LogRange) -> String {
        guard log.entries > 0 else { return "empty, after entry \(log.base.index), term \(log.base.term)" }
        return "\(log.firstIndex) to \(log.lastIndex), last term \(log.lastTerm), \(log.entries) entries, "
            + humanBytes(log.bytes)
    }

    private func members(_ group: GroupReport) -> String {
        guard !group.members.isEmpty else { return "" }
        return TableText(
            header: ["MEMBER", "ADDRESS", "STANDING", "INCARNATION"],
            rows: group.members.map { ["\($0.id)", $0.address, $0.standing, $0.incarnation] }, right: [0], indent: "  "
        ).text
    }

    private func shards(_ shards: [GroupReport.ShardReport], of count: Int?) -> String {
        guard let count, !shards.isEmpty else { return "  no shards\n" }
        let wide = shards.contains { $0.contents != nil }
        var table = TableText(
            header: ["SHARD", "STATE", "EPOCH", "SESSIONS"]
                + (wide ? ["KEYS", "BYTES", "MIN KEY", "MAX KEY", "CONTENT HASH"] : []),
            right: wide ? [0, 2, 3, 4, 5] : [0, 2, 3], indent: "  ")
        for shard in shards {
            let state =
                shard.movesTo.map { "frozen, to \($0) under \(shard.moveEpoch.map { "\($0)" } ?? "?")" } ?? shard.state
            var row = ["\(shard.shard)", state, "\(shard.epoch)", "\(shard.sessions)"]
            if wide {
                let contents = shard.contents
                row += [
                    "\(contents?.keys ?? 0)", "\(contents?.bytes ?? 0)", key(contents?.minKey), key(contents?.maxKey),
                    contents?.contentHash ?? "-",
                ]
            }
            table.rows.append(row)
        }
        let biggest = shards.flatMap { shard in (shard.contents?.biggest ?? []).map { (shard.shard, $0) } }
        var text = "  \(shards.count) of \(count) shards\n" + table.text
        if !biggest.isEmpty {
            text +=
                TableText(
                    header: ["SHARD", "VALUE BYTES", "BIGGEST VALUES"],
                    rows: biggest.map { ["\($0.0)", "\($0.1.bytes)", key($0.1.key)] }, right: [0, 1], indent: "  "
                ).text
        }
        return text
    }

    private func staged(_ staged: [GroupReport.StagedReport]) -> String {
        TableText(
            header: ["STAGED SHARD", "EPOCH", "SESSIONS", "KEYS", "CONTENT HASH"],
            rows: staged.map { ["\($0.shard)", "\($0.epoch)", "\($0.sessions)", "\($0.keys)", $0.contentHash] },
            right: [0, 1, 2, 3], indent: "  "
        ).text
    }

    private func decisions(_ decisions: [GroupReport.DecisionReport]) -> String {
        TableText(
            header: ["DECIDED SHARD", "EPOCH", "DECISION", "CONTENT HASH"],
            rows: decisions.map { ["\($0.shard)", "\($0.epoch)", $0.decision, $0.contentHash ?? "-"] }, right: [0, 1],
            indent: "  "
        ).text
    }

    private func map(_ map: ShardMapReport) -> String {
        var text = "  config \(map.configNumber), \(map.configs) kept, \(map.shards.count) shards\n"
        text +=
            TableText(
                header: ["GROUP", "SHARDS", "ADDRESSES", "SERVES"],
                rows: map.groups.map { group in
                    [
                        "\(group.gid)", "\(group.shards)",
                        group.addresses.joined(separator: ",") + (group.isLeaving ? " (leaving)" : ""),
                        Self.ranges(map.shards.filter { $0.gid == group.gid }.map(\.shard.index)),
                    ]
                }, right: [0, 1], indent: "  "
            ).text
        let moves = map.shards.compactMap { row in row.move.map { (row.shard, $0) } }
        if !moves.isEmpty {
            text +=
                TableText(
                    header: ["MOVING SHARD", "FROM", "TO", "EPOCH", "PHASE"],
                    rows: moves.map { ["\($0.0)", "\($0.1.from)", "\($0.1.to)", "\($0.1.epoch)", $0.1.phase] },
                    right: [0, 1, 2, 3], indent: "  "
                ).text
        }
        return text
    }

    /// "0-15,20".
    static func ranges(_ numbers: [Int]) -> String {
        var parts: [(Int, Int)] = []
        for number in numbers {
            if let last = parts.last, last.1 + 1 == number {
                parts[parts.count - 1].1 = number
            } else {
                parts.append((number, number))
            }
        }
        return parts.isEmpty ? "-" : parts.map { $0.0 == $0.1 ? "\($0.0)" : "\($0.0)-\($0.1)" }.joined(separator: ",")
    }

    /// A long key is cut in tables; JSON has it whole.
    private func key(_ key: [UInt8]?) -> String {
        guard let key else { return "-" }
        let text = hex.text(key.prefix(24))
        return key.count > 24 ? text + "…" : text
    }

    /// "2026-11-25T04:29:11Z".
    static func time(_ milliseconds: UInt64) -> String {
        Date(timeIntervalSince1970: Double(milliseconds) / 1000).formatted(.iso8601)
    }
}
