internal import Keyspace

/// What one key is meant to do: the sequential specification that histories are held against.
///
/// Values are numbered as they come up, so that equal states compare as numbers.
struct KeyModel {
    typealias State = Int

    private var numbers: [[UInt8]?: State] = [:]
    private var values: [[UInt8]?] = []

    /// The number of a value; `nil`: the key is absent.
    mutating func state(_ value: [UInt8]?) -> State {
        if let known = numbers[value] { return known }
        values.append(value)
        numbers[value] = values.count - 1
        return values.count - 1
    }

    func value(_ state: State) -> [UInt8]? { values[state] }

    /// The state after the operation; `nil` if it can't have answered so in this state.
    mutating func apply(_ operation: ObservedOperation, in state: State) -> State? {
        guard case .write(let write) = operation.call else {
            // A read whose answer nobody has heard is any read.
            guard case .value(let seen) = operation.outcome else { return state }
            return seen == values[state] ? state : nil
        }
        let (after, reply) = Self.execute(write, on: values[state])
        switch operation.outcome {
        case .unknown: break
        case .written(let answered): if answered != reply { return nil }
        case .value: return nil
        }
        return self.state(after)
    }

    /// What a write makes of a value, and what it answers.
    static func execute(_ write: KeyOperation, on present: [UInt8]?) -> (value: [UInt8]?, reply: KeyReply) {
        switch write {
        case .put(let value): return (value, .put)
        case .append(let value):
            let longer = (present ?? []) + value
            return (longer, .appended(length: longer.count))
        case .delete: return (nil, .deleted(existed: present != nil))
        case .compareAndSet(let expected, let value):
            return expected == present ? (value, .compared(succeeded: true)) : (present, .compared(succeeded: false))
        }
    }
}
