import Foundation
public import Keyspace

extension KvRequest {
    /// `nil`: it names no operation that this program knows.
    public init?(_ wire: Flotilla_V1_Request) {
        // Reads need no session; what they carry of one says nothing.
        func write(_ key: Data, _ operation: KeyOperation) -> Operation {
            let stamp =
                wire.session.isEmpty
                ? nil
                : SessionStamp(
                    token: wire.session.array, end: wire.sessionEndMs, sequence: wire.sequence,
                    lowestUnanswered: wire.lowestUnanswered)
            return .write(key: key.array, operation, stamp)
        }
        let operation: Operation
        switch wire.op {
        case .get(let get): operation = .get(key: get.key.array)
        case .put(let put): operation = write(put.key, .put(value: put.value.array))
        case .append(let append): operation = write(append.key, .append(value: append.value.array))
        case .delete(let delete): operation = write(delete.key, .delete)
        case .compareAndSet(let swap):
            operation = write(
                swap.key,
                .compareAndSet(
                    expected: swap.hasExpected ? swap.expected.array : nil,
                    value: swap.hasValue ? swap.value.array : nil))
        case .scan(let scan):
            operation = .scan(
                KvScan(
                    shard: ShardID(scan.shard), start: scan.start.array, end: scan.end.array,
                    limit: Int(scan.limit), keysOnly: scan.keysOnly))
        case .closeSession(let close):
            operation = .closeSession(ShardID(close.shard), token: wire.session.array)
        case .listSessions(let list):
            let after =
                list.afterToken.isEmpty ? nil : KvSession(token: list.afterToken.array, end: list.afterEndMs)
            operation = .listSessions(
                KvSessionQuestion(shard: ShardID(list.shard), after: after, limit: Int(list.limit)))
        case nil: return nil
        }
        self.init(id: wire.id, config: wire.config, cluster: wire.cluster, operation)
    }

    public var wire: Flotilla_V1_Request {
        var wire = Flotilla_V1_Request()
        wire.id = id
        wire.config = config
        wire.cluster = cluster
        switch operation {
        case .get(let key): wire.get.key = Data(key)
        case .closeSession(let shard, let token):
            wire.session = Data(token)
            wire.closeSession.shard = shard.rawValue
        case .listSessions(let question):
            wire.listSessions.shard = question.shard.rawValue
            wire.listSessions.limit = UInt32(clamping: question.limit)
            if let after = question.after {
                wire.listSessions.afterEndMs = after.end
                wire.listSessions.afterToken = Data(after.token)
            }
        case .scan(let scan):
            wire.scan.shard = scan.shard.rawValue
            wire.scan.start = Data(scan.start)
            wire.scan.end = Data(scan.end)
            wire.scan.limit = UInt32(clamping: scan.limit)
            wire.scan.keysOnly = scan.keysOnly
        case .write(let key, let operation, let stamp):
            switch operation {
            case .put(let value):
                wire.put.key = Data(key)
                wire.put.value = Data(value)
            case .append(let value):
                wire.append.key = Data(key)
                wire.append.value = Data(value)
            case .delete: wire.delete.key = Data(key)
            case .compareAndSet(let expected, let value):
                wire.compareAndSet.key = Data(key)
                if let expected { wire.compareAndSet.expected = Data(expected) }
                if let value { wire.compareAndSet.value = Data(value) }
            }
            if let stamp {
                wire.session = Data(stamp.token)
                wire.sessionEndMs = stamp.end
                wire.sequence = stamp.sequence
                wire.lowestUnanswered = stamp.lowestUnanswered
            }
        }
        return wire
    }
}

extension KvResponse {
    /// An answer without a result that this program knows becomes an `internal` error.
    public init(_ wire: Flotilla_V1_Response) {
        let result: Result =
            switch wire.result {
            case .get(let found): .value(found.found ? found.value.array : nil)
            case .put: .written(.put)
            case .append(let appended): .written(.appended(length: Int(clamping: appended.length)))
            case .delete(let deleted): .written(.deleted(existed: deleted.existed))
            case .compareAndSet(let compared): .written(.compared(succeeded: compared.succeeded))
            case .scan(let page):
                .page(pairs: page.pairs.map { KvPair(key: $0.key.array, value: $0.value.array) }, more: page.more)
            case .sessions(let page):
                .sessions(
                    page.sessions.map {
                        KvSession(
                            token: $0.token.array, end: $0.endMs, origin: SessionOrigin($0.origin),
                            isClosed: $0.closed)
                    }, more: page.more, logTime: page.logTimeMs)
            case .error(let error): .failed(KvError(error))
            case nil: .failed(KvError(.internal, "the server answered nothing that this client knows"))
            }
        self.init(id: wire.id, result)
    }

    public var wire: Flotilla_V1_Response {
        var wire = Flotilla_V1_Response()
        wire.id = id
        switch result {
        case .value(let value):
            wire.get.found = value != nil
            if let value { wire.get.value = Data(value) }
        case .page(let pairs, let more):
            wire.scan.more = more
            wire.scan.pairs = pairs.map { pair in
                var row = Flotilla_V1_Pair()
                row.key = Data(pair.key)
                row.value = Data(pair.value)
                return row
            }
        case .sessions(let sessions, let more, let logTime):
            wire.sessions.more = more
            wire.sessions.logTimeMs = logTime
            wire.sessions.sessions = sessions.map { session in
                var row = Flotilla_V1_SessionInfo()
                row.token = Data(session.token)
                row.endMs = session.end
                row.origin = session.origin.rawValue
                row.closed = session.isClosed
                return row
            }
        case .written(let reply):
            switch reply {
            case .put: wire.put = Flotilla_V1_PutResult()
            case .appended(let length): wire.append.length = UInt64(length)
            case .deleted(let existed): wire.delete.existed = existed
            case .compared(let succeeded): wire.compareAndSet.succeeded = succeeded
            }
        case .failed(let error): wire.error = error.wire
        }
        return wire
    }
}
