internal import CDashboardPages
internal import Client
internal import DashboardModel
internal import Foundation
internal import HTTPService
internal import Keyspace
internal import Sharding
internal import Synchronization

/// The API of `docs/dashboard.md`, and the pages.
struct Routes: Sendable {
    let observer: Observer
    let view: ClusterView
    let updates: Broadcast
    let allowActions: Bool
    let requests: RequestGuard
    let keys: KeyReader
    private let checks = ContentChecks()

    init(
        observer: Observer, view: ClusterView, updates: Broadcast, allowActions: Bool, requests: RequestGuard
    ) {
        self.observer = observer
        self.view = view
        self.updates = updates
        self.allowActions = allowActions
        self.requests = requests
        keys = KeyReader(controllers: observer.controllers, view: view)
    }

    func answer(_ question: HTTPQuestion) async -> HTTPAnswer {
        do {
            if let objection = requests.misdirection(question) { throw APIError(.misdirected, objection) }
            if question.path == "/api/actions/move" {
                guard question.method == "POST" else {
                    throw APIError(.methodNotAllowed, "\(question.path) takes POST", allowed: ["POST"])
                }
                return try await move(question)
            }
            guard question.method == "GET" else {
                throw APIError(
                    .methodNotAllowed, "\(question.path) takes GET, not \(question.method)", allowed: ["GET", "HEAD"])
            }
            if question.path.hasPrefix("/api/") {
                if let objection = RequestGuard.objection(toQuestion: question) {
                    throw APIError(.forbidden, objection)
                }
                return try await api(question)
            }
            if question.path == "/healthz" { return .text(200, "ok\n") }
            return try page(question.path)
        } catch let error as APIError {
            return .failure(error)
        } catch let error as ClientError {
            return .failure(APIError(error))
        } catch {
            return .failure(APIError(.internal, "\(error)"))
        }
    }

    /// To what is no proper request.
    static func refusal(_ status: Int, _ reason: String) -> HTTPAnswer {
        .failure(APIError(status == 413 ? .tooLarge : .badRequest, reason))
    }

    // MARK: - Pages

    private func page(_ path: String) throws(APIError) -> HTTPAnswer {
        let name = path == "/" ? "index.html" : String(path.dropFirst())
        guard let page = flotilla_page_named(name)?.pointee else {
            throw APIError(.notFound, "there is nothing at \(path)")
        }
        let bytes = Array(UnsafeBufferPointer(start: page.bytes, count: Int(page.size)))
        return .guarded(200, type: String(cString: page.type), .bytes(bytes))
    }

    // MARK: - Questions

    private func api(_ question: HTTPQuestion) async throws -> HTTPAnswer {
        let parts = question.path.split(separator: "/", omittingEmptySubsequences: false).dropFirst(2).map(String.init)
        switch parts {
        case ["dashboard"]: return .json(200, view.dashboard())
        case ["topology"]: return .json(200, view.current.topology())
        case ["metrics"]: return .json(200, view.current.metrics())
        case ["moves"]: return .json(200, view.current.moves())
        case ["events"]:
            let limit = try number(question, "limit", 1...1_000, default: 100)
            return .json(200, Answer.Events(events: view.current.events(limit: limit)))
        case ["history"]:
            let window = try number(question, "window", 1...3_600, default: 300)
            return .json(200, view.current.history(windowSeconds: window))
        case ["stream"]:
            // Before the first look there is nothing to begin with.
            let first = view.current.sequence > 0 ? try view.frame() : nil
            guard let stream = updates.listen(beginningWith: first) else {
                throw APIError(.unavailable, "\(Broadcast.listenersMax) streams are open already")
            }
            return .guarded(200, type: "text/event-stream", .pieces(stream))
        case ["plan"]: return .json(200, try plan(question))
        case ["keys", "get"]: return .json(200, try await keys.get(question))
        case ["keys", "scan"]: return .json(200, try await keys.scan(question))
        case _ where parts.count == 3 && parts[0] == "shards" && parts[2] == "content":
            return .json(200, try await content(parts[1]))
        default:
            throw APIError(.notFound, "there is nothing at \(question.path); docs/dashboard.md lists what there is")
        }
    }

    private func number(
        _ question: HTTPQuestion, _ name: String, _ range: ClosedRange<Int>, default: Int
    ) throws(APIError) -> Int {
        guard let text = question.parameter(name) else { return `default` }
        guard let number = Int(text), range.contains(number) else {
            throw APIError(
                .badRequest, "\(name)=\(text): give a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    private func knownConfig() throws(APIError) -> HeldMap {
        guard let config = view.current.config else {
            throw APIError(.unavailable, "no controller has answered yet, so the shard map isn't known")
        }
        return config
    }

    private func knownShard(_ text: String) throws(APIError) -> (shard: ShardID, map: ShardMap) {
        let map = try knownConfig().map
        guard let number = UInt32(text), case let shard = ShardID(number), map.row(shard) != nil else {
            throw APIError(.notFound, "there is no shard \(text); shards are 0 to \(map.shardCount - 1)")
        }
        return (shard, map)
    }

    private func plan(_ question: HTTPQuestion) throws -> Answer.Plan {
        let config = try knownConfig()
        var joining: [GroupID: [String]] = [:]
        var leaving: [GroupID] = []
        for (name, value) in question.query {
            switch name {
            case "join":
                let parts = value.split(separator: "=", maxSplits: 1).map(String.init)
                guard parts.count == 2, let gid = UInt64(parts[0]) else {
                    throw APIError(.badRequest, "join=\(value): give GID=HOST:PORT,HOST:PORT,…")
                }
                let addresses = parts[1].split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
                if let wrong = addresses.first(where: { Address(toCall: $0) == nil }) {
                    throw APIError(.badRequest, "\"\(wrong)\" is not an address; give HOST:PORT")
                }
                joining[GroupID(gid)] = addresses
            case "leave":
                guard let gid = UInt64(value) else { throw APIError(.badRequest, "leave=\(value): give a group's id") }
                leaving.append(GroupID(gid))
            default:
                throw APIError(.badRequest, "there is no parameter \(name); give join=GID=HOST:PORT,… or leave=GID")
            }
        }
        guard !joining.isEmpty || !leaving.isEmpty else {
            throw APIError(.badRequest, "give join=GID=HOST:PORT,… or leave=GID")
        }
        do throws(ControllerRefusal) { return try config.plan(joining: joining, leaving: leaving) } catch {
            switch error.kind {
            case .invalid: throw APIError(.badRequest, error.description)
            case .notFound: throw APIError(.notFound, error.description)
            case .precondition, .busy: throw APIError(.conflict, error.description)
            }
        }
    }

    /// Has every member of the shard's group scan it.
    private func content(_ text: String) async throws -> Answer.Content {
        let (shard, map) = try knownShard(text)
        guard checks.begin(shard) else {
            throw APIError(
                .conflict, "shard \(shard), or \(ContentChecks.most) others, are being read already; ask again")
        }
        defer { checks.end(shard) }
        let gid = map[shard].gid
        guard map.groups[gid] != nil else { throw APIError(.notFound, "no group serves shard \(shard)") }
        let status = observer.status
        let replicas = await withTaskGroup(of: ReplicaContent.self) { tasks in
            for node in view.current.nodes(of: gid) {
                let address = node.address
                tasks.addTask {
                    do throws(ClientError) {
                        let answer = try await status.node(address, exactShards: [shard])
                        guard let row = answer.shards.first(where: { $0.shard == shard }) else {
                            return ReplicaContent(
                                nodeID: answer.id, address: address, error: "the node has no shard \(shard)")
                        }
                        return ReplicaContent(
                            nodeID: answer.id, address: address, isVoter: answer.role != .learner,
                            hash: row.exact?.userHash ?? "", keys: row.keys,
                            appliedIndex: row.exact?.appliedIndex ?? 0)
                    } catch {
                        return ReplicaContent(nodeID: node.id, address: address, error: error.message)
                    }
                }
            }
            var replicas: [ReplicaContent] = []
            for await replica in tasks { replicas.append(replica) }
            return replicas.sorted { $0.nodeID < $1.nodeID }
        }
        return Answer.Content(
            shardId: shard, groupId: gid, replicas: replicas, memberCount: view.current.voterCount(of: gid))
    }

    // MARK: - Actions

    private struct MoveRequest: Decodable {
        var shardId: Int
        var groupId: GroupID
    }

    private func move(_ question: HTTPQuestion) async throws -> HTTPAnswer {
        guard allowActions else {
            throw APIError(.forbidden, "this dashboard only shows; start it with --allow-actions to change the cluster")
        }
        if let objection = RequestGuard.objection(question, action: "move") { throw APIError(.forbidden, objection) }
        guard let request = try? JSONDecoder().decode(MoveRequest.self, from: Data(question.body)) else {
            throw APIError(.badRequest, "the body must be {\"shardId\": N, \"groupId\": GID}")
        }
        let (shard, map) = try knownShard("\(request.shardId)")
        guard map.groups[request.groupId] != nil else {
            throw APIError(.notFound, "there is no group \(request.groupId)")
        }
        let moved = try await observer.controller.move(shard: shard, to: request.groupId)
        return .json(202, Answer.MoveAccepted(shard: shard, to: request.groupId, in: moved))
    }
}

/// Shards that are being read on all their nodes: costly, so not twice, nor many at once.
private final class ContentChecks: Sendable {
    static let most = 4
    private let shards = Mutex<Set<ShardID>>([])

    func begin(_ shard: ShardID) -> Bool {
        shards.withLock { $0.count < Self.most && $0.insert(shard).inserted }
    }

    func end(_ shard: ShardID) { shards.withLock { _ = $0.remove(shard) } }
}
