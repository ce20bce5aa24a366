import ArgumentParser
import Client
import CommandSupport
import Engines
import Foundation
import Inspect
import InspectCommands
internal import Keyspace
import Server
import Synchronization

/// A group's copy on a node, as the archive's writer reads it.
struct LiveExport: GroupExport {
    let client: ExportClient
    let copy: GroupCopy
    let engine: EngineKind
    let manifests: [FamilyManifest]

    init(_ client: ExportClient, _ copy: GroupCopy) throws(EngineError) {
        guard let engine = EngineKind(rawValue: copy.source.engine) else {
            throw .mismatch(
                "the node at \(copy.address) runs on \(copy.source.engine), which this program doesn't know")
        }
        var manifests: [FamilyManifest] = []
        for bytes in copy.manifests {
            guard let manifest = try? JSONDecoder().decode(FamilyManifest.self, from: Data(bytes)) else {
                throw .corruption(place: "a manifest that the node at \(copy.address) sent")
            }
            manifests.append(manifest)
        }
        self.client = client
        self.copy = copy
        self.engine = engine
        self.manifests = manifests
    }

    var role: String { copy.gid == .controller ? "controller" : "group" }
    var gid: GroupID { copy.gid }
    var nodeId: UInt64 { copy.source.id }
    var servedAs: String { copy.source.leads ? "leader" : "follower" }
    var header: [UInt8] { copy.header }

    func read(family: Int, file: Int, offset: UInt64, length: UInt64) async throws -> [UInt8] {
        do throws(ClientError) {
            return try await client.read(copy, family: family, file: file, offset: offset, length: length)
        } catch {
            guard error.code == .unavailable else { throw ExportLost(error.message) }
            throw error
        }
    }
}

extension SaveLive {
    /// Adds a copy, and lets the node remove its files, whatever comes of it.
    func add(_ copy: GroupCopy, from client: ExportClient) async throws {
        do {
            try await add(LiveExport(client, copy))
        } catch {
            await uncancelled { await client.close(copy) }
            throw error
        }
        await client.close(copy)
    }
}

/// Runs what must be said to the other side even if this one was interrupted.
func uncancelled(_ body: @escaping @Sendable () async -> Void) async { await Task { await body() }.value }

/// Options of commands that read from nodes which serve.
struct LiveOptions: ParsableArguments {
    @Option(help: "At most so much per second: 10MiB, 512KiB or bytes; without it as fast as it goes.")
    var rate: String?

    var transferRate: TransferRate {
        get throws {
            guard let rate else { return TransferRate() }
            guard let found = TransferRate(rate) else {
                throw ValidationError(
                    "--rate takes bytes per second, as 10MiB or 512KiB, at least \(TransferRate.bytesPerSecondMin), not \(rate)."
                )
            }
            return found
        }
    }

    func validate() throws { _ = try transferRate }
}

/// Runs what leaves something behind if it is killed. A signal that asks to end cancels it, so that it tidies up, and then
/// gives the exit code.
func interruptible(_ body: @escaping @Sendable () async throws -> Void) async throws {
    let task = Task { try await body() }
    let heard = Atomic<Int32>(0)
    let signals = SignalWatch { number in
        heard.store(number, ordering: .relaxed)
        task.cancel()
    }
    defer { signals.end() }
    do { try await task.value } catch {
        let number = heard.load(ordering: .relaxed)
        throw number == 0 ? error : ExitCode(128 + number)
    }
}

/// Prints a failure of a live save and gives its exit code.
func noteLive(_ error: any Error) -> any Error {
    if Task.isCancelled {
        note("flotilla: interrupted; nothing was kept")
        return error
    }
    switch error {
    case let error as ClientError:
        note("flotilla: \(error.message)")
        // A hold that may have begun ends by itself: nothing is left of it.
        return error.code == .outcomeUnknown ? Exit.unavailable : error.exitCode
    case let error as EngineError:
        note("flotilla: \(error.sentence)")
        return error.exitCode
    case let error as ExportLost:
        note("flotilla: \(error); nothing was kept, try again")
        return Exit.failed
    default: return error
    }
}

/// One group, from the node that was named.
enum LiveSave {
    static func run(
        _ endpoint: String, out: String, gid: GroupID?, rate: TransferRate, asJSON: Bool
    ) async throws {
        do {
            try UnfinishedOutput.checkIsFree(out)
            let status = try await StatusClient().node(endpoint)
            if let gid, gid != status.gid {
                throw ClientError(
                    .notFound,
                    "the node at \(endpoint) is of \(title(status.gid)), not of group \(gid); name one of its nodes")
            }
            guard status.condition.isEmpty, !status.clusterID.isEmpty else {
                let why = status.condition.isEmpty ? "it is starting" : status.condition
                throw ClientError(.unavailable, "the node at \(endpoint) gives no copy: \(why)")
            }
            let client = ExportClient()
            let copy = try await client.open(
                at: endpoint, gid: status.gid, clusterID: status.clusterID)
            let save = try SaveLive(
                .snapshot, out: out, clusterId: BytesText.hex(status.clusterID), rate: rate,
                madeBy: "flotilla \(ServerVersion.current)")
            do {
                try await save.add(copy, from: client)
                try save.finish()
            } catch {
                save.discard()
                throw error
            }
            try save.report(asJSON: asJSON)
            if !copy.source.leads {
                note("the node follows: what it had not applied yet isn't in the snapshot")
            }
        } catch {
            throw noteLive(error)
        }
    }

    private static func title(_ gid: GroupID) -> String { gid == .controller ? "the controller" : "group \(gid)" }
}
