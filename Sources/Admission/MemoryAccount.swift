/// Who holds how many bytes of a budget. Pure.
///
/// A message is taken in by the length that it announces, so that whoever has a place can finish. Nobody waits for one:
/// what finds no room is refused, and if somebody holds more than the asker would, that one is shown out instead. So
/// those who hold much can't keep the messages out of those who hold little, and no two can wait for each other. Answers,
/// whose lengths nobody knows before, are refused while the budget is taken.
///
/// Beyond the budget there is a reserve for those who hold next to nothing, so that a budget that a few have taken
/// doesn't make everybody else hear «busy».
public struct MemoryAccount: Sendable {
    /// A connection.
    public typealias Holder = UInt64

    public enum Answer: Equatable, Sendable {
        case granted
        /// The bytes are the asker's; the one who holds most is to be closed.
        case instead(of: Holder)
        case refused
    }

    /// The reserve, as a part of the budget.
    private static let reserveShare = 4

    public let bytesMax: Int
    public let holderBytesMax: Int
    public private(set) var held = 0
    private var holders: [Holder: Int] = [:]

    public init(bytesMax: Int, holderBytesMax: Int) {
        self.bytesMax = max(0, bytesMax)
        self.holderBytesMax = min(max(0, holderBytesMax), self.bytesMax)
    }

    public func held(by holder: Holder) -> Int { holders[holder] ?? 0 }

    /// No more should be made for this holder now.
    public func isFull(for holder: Holder) -> Bool {
        let own = held(by: holder)
        return own >= holderBytesMax || held >= limit(forThoseWith: own)
    }

    /// What all may hold when one with so many bytes asks for more. Those who have no more than their part of the reserve
    /// can't overdraw it together.
    private func limit(forThoseWith own: Int) -> Int {
        let reserve = bytesMax / Self.reserveShare
        return own < reserve / max(1, holders.count) ? bytesMax + reserve : bytesMax
    }

    public mutating func take(_ bytes: Int, for holder: Holder) -> Answer {
        let own = held(by: holder) + bytes
        guard own <= holderBytesMax else { return .refused }
        if held + bytes > bytesMax {
            // One at a time: whoever was named gives its bytes back when it is closed.
            guard let most = holders.max(by: { ($0.value, $0.key) < ($1.value, $1.key) }), most.key != holder,
                most.value > own, held + bytes <= max(bytesMax + most.value, limit(forThoseWith: own))
            else { return .refused }
            charge(bytes, for: holder)
            return .instead(of: most.key)
        }
        charge(bytes, for: holder)
        return .granted
    }

    /// Counts what is there already, whether there is room or not.
    public mutating func charge(_ bytes: Int, for holder: Holder) {
        held += bytes
        holders[holder, default: 0] += bytes
    }

    public mutating func give(_ bytes: Int, from holder: Holder) {
        let own = held(by: holder)
        let given = min(bytes, own)
        held -= given
        holders[holder] = own > given ? own - given : nil
    }
}
