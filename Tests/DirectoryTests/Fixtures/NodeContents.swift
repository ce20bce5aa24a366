import Engines
import Foundation
import Keyspace
import RaftLog

/// Everything that a node's directory holds, as text: what its fixture is compared by.
struct NodeContents: Codable, Equatable {
    struct Group: Codable, Equatable {
        var gid: GroupID
        var hardState: String
        var base: String
        var applied: String
        var logTime: UInt64
        var membershipIndex: UInt64
        var members: [String]
        var bootstrap: String
        var stateRows: [String]
        /// Rows by the family's name.
        var families: [String: [String]]
        var staged: [String: Staged]
        var recoveries: [String]
        var log: [String]
    }

    struct Staged: Codable, Equatable {
        var note: String
        var rows: [String]
    }

    var identity: DirectoryIdentity
    var group: Group

    init(_ path: String) throws {
        let directory = try NodeDirectory.openStopped(path)
        identity = directory.identity
        let engine = try directory.openEngine()
        let view = try engine.snapshot()
        defer { view.close() }
        let layout = try unwrapped(FamilyTable.layout(of: identity.groupId, in: view))
        group = try Self.group(layout, view)
        view.close()
        try engine.close()
    }

    private static func group(_ layout: GroupLayout, _ view: any ReadSnapshot) throws -> Group {
        let rows = try GroupStorageRows.load(layout, in: view)
        let (header, _) = try SnapshotHeader.read(layout, in: view)
        var families: [String: [String]] = [:]
        for (name, family) in rows.families { families[name] = try Self.rows(family, view) }
        var staged: [String: Staged] = [:]
        for (name, row) in rows.staged {
            staged[name] = Staged(
                note: hexadecimal(row.note), rows: try row.family.map { family in try Self.rows(family, view) } ?? [])
        }
        let entries = try layout.readEntries(
            from: rows.base.index + 1, through: .max - 1, bytesMax: .max, in: view)
        return Group(
            gid: GroupID(layout.gid),
            hardState: "term \(rows.hardState.term), vote \(rows.hardState.vote.map { "\($0)" } ?? "none")",
            base: rows.base.description, applied: rows.applied.position.description, logTime: rows.applied.logTime,
            membershipIndex: rows.membership.index,
            members: rows.membership.members.map { "\($0.id) \($0.address) \($0.incarnation) \($0.standing)" },
            bootstrap: hexadecimal(rows.bootstrap ?? []),
            stateRows: header.stateRows.map { line($0.key, $0.value) }, families: families, staged: staged,
            recoveries: try layout.recoveries(in: view).map { hexadecimal($0.encoded) },
            log: entries.map { "\($0.index)@\($0.term) \($0.kind) \($0.stamp) \(hexadecimal($0.payload))" })
    }

    static func rows(_ family: FamilyID, _ view: any ReadView) throws -> [String] {
        var lines: [String] = []
        try view.scan(family) { key, value in
            lines.append(line(key, value))
            return true
        }
        return lines
    }

    static func line(_ key: some Sequence<UInt8>, _ value: some Sequence<UInt8>) -> String {
        "\(hexadecimal(key)) = \(hexadecimal(value))"
    }
}
