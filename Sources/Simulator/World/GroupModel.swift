internal import Keyspace
internal import RaftLog
internal import Sharding

/// What a group's log means, command by command: every write of a session once, with one answer. It is told what the
/// replicas make of each entry, and objects.
struct GroupModel {
    private(set) var values: [[UInt8]: [UInt8]] = [:]
    private var executed: [ClusterHistory.Stamp: KeyReply] = [:]

    enum Finding {
        case nothing
        /// The write with this stamp has happened now.
        case executed(ClusterHistory.Stamp, KeyReply)
        /// An attempt after the one that was executed.
        case repeated
        case objection(String)
    }

    mutating func apply(_ entry: Entry, _ reply: GroupReply) -> Finding {
        guard let command = try? GroupCommand(encoded: entry.payload),
            case .write(let key, let operation, let stamp?) = command, case .key(let answered) = reply
        else { return .nothing }
        let write = ClusterHistory.Stamp(stamp)
        if let first = executed[write] {
            guard first != answered else { return .repeated }
            return .objection("entry \(entry.index) answers \(answered) to a write that was answered \(first)")
        }
        let (value, expected) = KeyModel.execute(operation, on: values[key])
        guard expected == answered else {
            return .objection("entry \(entry.index) answers \(answered), where \(expected) is right")
        }
        values[key] = value
        executed[write] = answered
        return .executed(write, answered)
    }
}
