import ArgumentParser
import Client
import CommandSupport
import Engines
import Foundation
import Inspect
import InspectCommands
internal import Keyspace
import Server
import Sharding
import Synchronization

/// The whole cluster, while it serves.
///
/// No shard may be in the backup twice or not at all, so moves are held from before the controller is copied until every
/// group has been. The hold is released before the seal is put on, and the controller takes the release only of a hold that
/// was never lost: a backup during which a move could have begun is not sealed (docs/adr/0019-moves-are-held-in-the-log.md).
struct LiveBackup: Sendable {
    var controllers: [String]
    var out: String
    var since: String?
    var rate: TransferRate
    /// How long moves that are under way may take to end.
    var moveWait: Duration
    var asJSON: Bool

    /// Nodes that may be lost while they are read, one after another.
    private static let attemptsMax = 3
    private static let pollPause: Duration = .milliseconds(200)

    func run() async throws {
        do {
            try UnfinishedOutput.checkIsFree(out)
            let client = ControllerClient(endpoints: controllers)
            let clusterID = try await client.query().map.clusterID
            let clusterId = BytesText.hex(clusterID)
            let earlier = try since.map { (path) throws(EngineError) in try EarlierArchive(path, clusterId: clusterId) }
            let hold = try await HeldMoves(client)
            do {
                try await settle(client, hold)
                let save = try SaveLive(
                    .backup, out: out, clusterId: clusterId, rate: rate, since: earlier,
                    madeBy: "flotilla \(ServerVersion.current)")
                do {
                    try await copy(to: save, clusterID, hold)
                    try save.checkBackup()
                    try await hold.release()
                    try save.finish()
                } catch {
                    save.discard()
                    throw error
                }
                try save.report(asJSON: asJSON)
            } catch {
                // Moves go on at once, and not only when the hold runs out.
                await uncancelled { try? await hold.release() }
                throw error
            }
        } catch {
            throw noteLive(error)
        }
    }

    /// Waits until what is under way has ended. Nothing new starts under the hold.
    private func settle(_ client: ControllerClient, _ hold: HeldMoves) async throws {
        let end = ContinuousClock.now + moveWait
        var announced = 0
        while true {
            try hold.check()
            let config = try await client.query()
            let left = config.map.moves.count
            if left == 0 { return }
            guard ContinuousClock.now < end else {
                throw ClientError(
                    .unavailable,
                    "\(left) shards are still on the move after \(moveWait.components.seconds) s, and no backup was made; "
                        + "`flotilla controller query` shows them; --move-timeout waits longer")
            }
            if left != announced {
                announced = left
                note("waiting for moves to end; under way: \(left)")
            }
            try await Task.sleep(for: Self.pollPause)
        }
    }

    private func copy(to save: SaveLive, _ clusterID: [UInt8], _ hold: HeldMoves) async throws {
        try await copy(.controller, controllers, to: save, clusterID, hold)
        for group in try Self.groups(in: save) {
            try await copy(group.gid, group.addresses, to: save, clusterID, hold)
        }
        try hold.check()
    }

    /// Those of the map that came with the controller's copy.
    private static func groups(in save: SaveLive) throws -> [(gid: GroupID, addresses: [String])] {
        guard let map = save.map else {
            throw EngineError.mismatch("the controller has no shard map yet; try again when the cluster has begun")
        }
        return map.groups.sorted { $0.key < $1.key }.map { ($0.key, $0.value.addresses) }
    }

    /// Copies one group from whoever leads it. A node that is lost on the way has a successor, whose copy is another one.
    private func copy(
        _ gid: GroupID, _ addresses: [String], to save: SaveLive, _ clusterID: [UInt8], _ hold: HeldMoves
    ) async throws {
        for attempt in 1... {
            do { return try await copyOnce(gid, addresses, to: save, clusterID, hold) } catch {
                guard let lost = error as? LostCopy else { throw error }
                guard attempt < Self.attemptsMax, !Task.isCancelled else { throw lost.why }
                let group = gid == .controller ? "the controller" : "group \(gid)"
                note("\(lost.why); the copy of \(group) begins again")
            }
        }
    }

    /// A copy that ended on the way, so that another one may go to its end.
    private struct LostCopy: Error {
        var why: any Error
    }

    private func copyOnce(
        _ gid: GroupID, _ addresses: [String], to save: SaveLive, _ clusterID: [UInt8], _ hold: HeldMoves
    ) async throws {
        try hold.check()
        let client = ExportClient()
        let copy = try await client.openFromLeader(addresses, gid: gid, clusterID: clusterID)
        do { try await save.add(copy, from: client) } catch {
            guard error is ClientError || error is ExportLost else { throw error }
            throw LostCopy(why: error)
        }
    }
}

/// A hold on moves, prolonged in the background for as long as this lives.
final class HeldMoves: Sendable {
    private static let lasts: Duration = .seconds(60)
    private static let prolongEvery: Duration = .seconds(15)

    private let client: ControllerClient
    private let id: [UInt8]
    private let lost: LostHold
    private let prolonging: Task<Void, Never>

    /// Why the hold is no longer there.
    private final class LostHold: Sendable {
        let why = Mutex<ClientError?>(nil)
    }

    init(_ client: ControllerClient) async throws(ClientError) {
        var random = SystemRandomNumberGenerator()
        let id = (0..<16).map { _ in UInt8.random(in: .min ... .max, using: &random) }
        let holder = "backup create (process \(getpid()) on \(ProcessInfo.processInfo.hostName.prefix(100)))"
        _ = try await client.hold(id, holder: holder, lasts: Self.lasts)
        let lost = LostHold()
        self.client = client
        self.id = id
        self.lost = lost
        prolonging = Task {
            while !Task.isCancelled {
                try? await Task.sleep(for: Self.prolongEvery)
                if Task.isCancelled { return }
                do throws(ClientError) {
                    _ = try await client.prolong(id, lasts: Self.lasts, patience: Self.prolongEvery)
                } catch {
                    // Who isn't reached may be the next time. Whether that was in time the controller knows.
                    guard error.code == .failedPrecondition else { continue }
                    return lost.why.withLock { $0 = error }
                }
            }
        }
    }

    deinit { prolonging.cancel() }

    /// Throws once it is known that the hold was lost.
    func check() throws(ClientError) {
        if let why = lost.why.withLock({ $0 }) { throw why }
    }

    /// Ends it. Throws if it had ended before: then moves may have begun.
    func release() async throws(ClientError) {
        prolonging.cancel()
        _ = try await client.release(id)
    }
}
