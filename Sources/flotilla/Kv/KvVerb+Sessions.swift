import ArgumentParser
import Client
import CommandSupport
internal import Keyspace

extension KvVerb {
    struct Sessions: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the sessions of writes that shards remember, or drop them.",
            discussion: """
                A shard takes 16384 open sessions, 4096 of one client address; beyond that new ones hear "busy". This \
                shows whose they are: a line for each session with its shard, token, the number of the client's address, \
                and the seconds until it ends. With --drop those sessions are closed: their clients begin new ones, and \
                a write that was under way may be reported as unknown.
                """)
        @OptionGroup var cluster: ClusterOptions
        @Option(help: "Only this shard.") var shard: UInt32?
        @Option(help: "Only sessions of this client: its IP address, or the eight digits that stand for it.")
        var client: String?
        @Option(help: "Only the session with this token: 32 hexadecimal digits.") var token: String?
        @Option(help: "Sessions of each shard at most, 1 to 65536.") var limit = 1_000
        @Flag(help: "Close them; needs --client, --token or --all.") var drop = false
        @Flag(help: "With --drop: close the sessions of all clients.") var all = false

        func validate() throws {
            try require("--limit", limit, in: 1...65_536)
            if let shard, Int(shard) >= Limits.shardCountMax {
                throw ValidationError("--shard takes 0 to \(Limits.shardCountMax - 1), not \(shard).")
            }
            if let token, hexBytes(token)?.count != SessionStamp.tokenBytes {
                throw ValidationError("--token takes \(2 * SessionStamp.tokenBytes) hexadecimal digits.")
            }
            if drop, client == nil, token == nil, !all {
                throw ValidationError(
                    "--drop would end the sessions of all clients; name some with --client or --token, or give --all.")
            }
            if all, !drop { throw ValidationError("--all is for --drop.") }
        }

        func run() async throws {
            let flotilla = cluster.makeClient()
            let wanted = client.map { origin($0) }
            let token = token.flatMap { hexBytes($0) }
            try await report { () throws(ClientError) in
                let shards = if let shard { [ShardID(shard)] } else { try await flotilla.shards() }
                var rows: [Row] = []
                for shard in shards {
                    // What is filtered out doesn't count, so all are looked at.
                    let isFiltered = wanted != nil || token != nil
                    let (sessions, time) = try await flotilla.sessions(of: shard, limit: isFiltered ? 65_536 : limit)
                    let found = sessions.filter {
                        (wanted == nil || $0.origin == wanted) && (token == nil || $0.token == token)
                            && !(drop && $0.isClosed)
                    }
                    for session in found.prefix(limit) {
                        if drop { try await flotilla.closeSession(session.token, of: shard) }
                        rows.append(Row(shard: shard, session: session, time: time))
                    }
                }
                return rows
            }.print(cluster.format, dropped: drop)
            await flotilla.shutdown()
        }

        private func origin(_ text: String) -> SessionOrigin {
            if text.utf8.count == 8, let number = UInt32(text, radix: 16) { return SessionOrigin(number) }
            return SessionOrigin(host: text)
        }
    }
}

private func hexDigits(_ bytes: [UInt8]) -> String {
    bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined()
}

/// `nil`: not pairs of hexadecimal digits.
private func hexBytes(_ text: String) -> [UInt8]? {
    let digits = text.utf8.map { Character(Unicode.Scalar($0)).hexDigitValue }
    guard digits.count % 2 == 0 else { return nil }
    var bytes: [UInt8] = []
    for place in stride(from: 0, to: digits.count, by: 2) {
        guard let high = digits[place], let low = digits[place + 1] else { return nil }
        bytes.append(UInt8(high << 4 | low))
    }
    return bytes
}

/// A session in one shard, as it is printed.
private struct Row: Encodable {
    var shard: UInt32
    var token: String
    var client: String
    var endsInSeconds: UInt64
    var closed: Bool

    init(shard: ShardID, session: KvSession, time: UInt64) {
        self.shard = shard.rawValue
        token = hexDigits(session.token)
        client = session.origin == .unknown ? "" : session.origin.description
        endsInSeconds = session.end > time ? (session.end - time) / 1_000 : 0
        closed = session.isClosed
    }
}

extension Array where Element == Row {
    fileprivate func print(_ format: OutputFormat, dropped: Bool) throws {
        if format == .json { return try writeJSON(self) }
        let lines = map { row in
            let client = row.closed ? "closed" : row.client.isEmpty ? "-" : row.client
            return "\(row.shard)\t\(row.token)\t\(client)\t\(row.endsInSeconds) s\n"
        }
        try StandardOutput.write([UInt8](lines.joined().utf8))
        if dropped { note("flotilla: dropped \(count) session\(count == 1 ? "" : "s")") }
    }
}
