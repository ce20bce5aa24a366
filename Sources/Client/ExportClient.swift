internal import Foundation
internal import GRPCCore
public import Keyspace
internal import Synchronization
internal import Wire

/// A group's state as files on a node, waiting to be read.
public struct GroupCopy: Sendable {
    public var address: String
    public var gid: GroupID
    public var id: UInt64
    public var source: Source
    /// A snapshot header (docs/formats.md).
    public var header: [UInt8]
    /// JSON, one for each family.
    public var manifests: [[UInt8]]

    /// Whose state it is.
    public struct Source: Sendable {
        /// The node's number.
        public var id: UInt64
        public var engine: String
        /// It led, and had confirmed that: everything acknowledged before the request is in.
        public var leads: Bool
    }
}

/// Has nodes export whole groups, and reads the files, over a connection of its own.
///
/// A node is looked at through `StatusClient` first, which says of which group and cluster it is.
public final class ExportClient: Sendable {
    /// Making the export of a large group takes its time.
    private static let openTimeout: Duration = .seconds(600)
    /// A node that sends nothing for so long counts as gone.
    private let idleMax: Duration
    private let connections = ConnectionPool()

    public init(idleMax: Duration = .seconds(15)) { self.idleMax = idleMax }

    /// Asks the named node, whatever its role; a leader confirms its office first.
    public func open(
        at address: String, gid: GroupID, clusterID: [UInt8]
    ) async throws(ClientError) -> GroupCopy {
        do { return try await open(address, gid, clusterID, fromLeader: false) } catch {
            throw Self.failure(error, at: address)
        }
    }

    /// Asks the group's nodes in turn until the leader answers.
    /// - Parameter patience: how long to look for one.
    public func openFromLeader(
        _ addresses: [String], gid: GroupID, clusterID: [UInt8], patience: Duration = .seconds(30)
    ) async throws(ClientError) -> GroupCopy {
        let end = ContinuousClock.now + patience
        let title = gid == .controller ? "the controller" : "group \(gid)"
        var queue: [String] = []
        var last = ClientError(.unavailable, "\(title) has no address")
        while ContinuousClock.now < end, !addresses.isEmpty, !Task.isCancelled {
            if queue.isEmpty { queue = addresses }
            let address = queue.removeFirst()
            do { return try await open(address, gid, clusterID, fromLeader: true) } catch {
                last = Self.failure(error, at: address)
                guard last.code == .unavailable else { throw last }
                if let hint = KvError(carriedBy: error)?.leader, !hint.isEmpty, hint != address {
                    queue.insert(hint, at: 0)
                }
            }
            try? await Task.sleep(for: .milliseconds(100))
        }
        throw ClientError(last.code, "\(title) can't be copied from its leader: \(last.message)")
    }

    private func open(
        _ address: String, _ gid: GroupID, _ clusterID: [UInt8], fromLeader: Bool
    ) async throws -> GroupCopy {
        var request = Flotilla_V1_OpenExportRequest()
        request.clusterID = Data(clusterID)
        request.gid = gid.rawValue
        request.copy.fromLeader = fromLeader
        let export = try await peer(address).openExport(request, options: .flotilla(timeout: Self.openTimeout))
        return GroupCopy(
            address: address, gid: gid, id: export.id,
            source: GroupCopy.Source(id: export.source.id, engine: export.source.engine, leads: export.source.leads),
            header: Array(export.header),
            manifests: export.manifests.map { Array($0) })
    }

    private func peer(_ address: String) throws -> Flotilla_V1_Peer.Client<Connection.Transport> {
        guard let endpoint = Address(toCall: address) else {
            throw ClientError(.invalidArgument, "\"\(address)\" is not an address; give HOST:PORT")
        }
        return Flotilla_V1_Peer.Client(wrapping: try connections.connection(to: endpoint).client)
    }

    /// Bytes of a file from `offset` on, at most `length`. Fewer if the connection breaks on the way, or the node falls
    /// silent; none of what came is lost.
    public func read(
        _ copy: GroupCopy, family: Int, file: Int, offset: UInt64, length: UInt64
    ) async throws(ClientError) -> [UInt8] {
        var request = Flotilla_V1_ReadExportRequest()
        request.gid = copy.gid.rawValue
        request.id = copy.id
        request.family = UInt32(family)
        request.file = UInt32(file)
        request.offset = offset
        request.length = length
        let came = Mutex<[UInt8]>([])
        do {
            let peer = try peer(copy.address)
            try await withIdleDeadline(idleMax) { [request] pulse in
                try await peer.readExport(request, options: .flotilla()) { response in
                    for try await piece in response.messages {
                        pulse.beat()
                        came.withLock { $0.append(contentsOf: piece.data) }
                    }
                }
            }
        } catch {
            // The next attempt is not to wait for a connection that looks alive.
            if error is IdleTooLong, let endpoint = Address(copy.address) { connections.drop(endpoint) }
            let bytes = came.withLock { $0 }
            if !bytes.isEmpty { return bytes }
            throw Self.failure(error, at: copy.address)
        }
        return came.withLock { $0 }
    }

    /// Lets the node remove the files. If this is lost, they go by themselves after a minute.
    public func close(_ copy: GroupCopy) async {
        var request = Flotilla_V1_CloseExportRequest()
        request.gid = copy.gid.rawValue
        request.id = copy.id
        _ = try? await peer(copy.address).closeExport(request, options: .flotilla(timeout: .seconds(2)))
    }

    private static func failure(_ error: any Error, at address: String) -> ClientError {
        if let error = error as? ClientError { return error }
        guard let refusal = KvError(carriedBy: error) else {
            if let error = error as? IdleTooLong {
                return ClientError(.unavailable, "the node at \(address) stopped sending: \(error)")
            }
            if (error as? RPCError)?.code == .unimplemented {
                return ClientError(.failedPrecondition, "the node at \(address) is too old to give copies; update it")
            }
            return ClientError(.unavailable, "the node at \(address) can't be reached any more")
        }
        let text = "the node at \(address) gives no copy: \(refusal.message)"
        return switch refusal.code {
        case .invalidArgument: ClientError(.invalidArgument, text)
        case .failedPrecondition: ClientError(.failedPrecondition, text)
        case .notFound: ClientError(.notFound, text)
        case .noSpace: ClientError(.noSpace, text)
        case .internal: ClientError(.internal, text)
        default: ClientError(.unavailable, text)
        }
    }
}
