/// The connections of one listener: how many there are, whose, and which of them are in use. Pure.
///
/// A new connection gets in as long as there is room, and where there is none it takes the place of one that isn't in
/// use: first of one that has never asked anything, the oldest before the others, then of the one that has been idle
/// longest. So whoever only holds connections can't keep out those who ask. Only if all are in use is it refused.
public struct ConnectionTable: Sendable {
    public typealias Number = UInt64

    public enum Decision: Equatable, Sendable {
        case admitted(Number)
        /// The other one is to be closed; it is no longer in the table.
        case replaced(Number, victim: Number)
        case refused
    }

    private struct Row {
        var address: String
        /// Requests and streams that are open.
        var uses = 0
        /// Has ever asked something.
        var hasAsked = false
        /// Grows with time: when it came, or when it was used last.
        var usedAt: UInt64
    }

    public let countMax: Int
    /// Of one remote address.
    public let addressMax: Int
    private var rows: [Number: Row] = [:]
    private var counts: [String: Int] = [:]
    private var turn: UInt64 = 0

    public init(countMax: Int, addressMax: Int? = nil) {
        self.countMax = max(1, countMax)
        // Three quarters: one machine can't keep all others out, and a cluster on one machine has room.
        self.addressMax = max(1, addressMax ?? countMax * 3 / 4)
    }

    public var count: Int { rows.count }
    public func count(of address: String) -> Int { counts[address] ?? 0 }

    public mutating func open(from address: String) -> Decision {
        turn += 1
        let isOwnLimit = count(of: address) >= addressMax
        guard isOwnLimit || rows.count >= countMax else { return .admitted(add(address)) }
        guard let victim = victim(only: isOwnLimit ? address : nil) else { return .refused }
        close(victim)
        return .replaced(add(address), victim: victim)
    }

    /// A request has come, or a stream has been opened.
    public mutating func begin(_ number: Number) {
        rows[number]?.uses += 1
        rows[number]?.hasAsked = true
    }

    /// It is answered, or closed.
    public mutating func end(_ number: Number) {
        guard var row = rows[number] else { return }
        turn += 1
        row.uses = max(0, row.uses - 1)
        row.usedAt = turn
        rows[number] = row
    }

    /// Harmless if it is not in the table.
    public mutating func close(_ number: Number) {
        guard let row = rows.removeValue(forKey: number) else { return }
        let left = (counts[row.address] ?? 1) - 1
        counts[row.address] = left > 0 ? left : nil
    }

    private mutating func add(_ address: String) -> Number {
        rows[turn] = Row(address: address, usedAt: turn)
        counts[address, default: 0] += 1
        return turn
    }

    private func victim(only address: String?) -> Number? {
        rows.lazy.filter { $0.value.uses == 0 && (address == nil || $0.value.address == address) }
            .min { ($0.value.hasAsked ? 1 : 0, $0.value.usedAt) < ($1.value.hasAsked ? 1 : 0, $1.value.usedAt) }?.key
    }
}
