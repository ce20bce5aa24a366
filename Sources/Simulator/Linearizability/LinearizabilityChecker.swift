internal import Keyspace

/// Is there an order of a key's operations that explains every answer, in which whatever ended before something else began
/// comes first?
///
/// The search of Wing and Gong (1993) with the improvement of Lowe (2017), as Porcupine has it: a set of operations that
/// were ordered, together with the state that they leave, is tried once. What changes nothing wherever it comes is
/// ordered as soon as its answer fits, and no other order is tried: whatever comes after it could come after it there
/// too. What else may come next is tried in the order in which it is known to have been done. Operations whose outcome is
/// unknown need not be ordered at all, and are tried last.
package struct LinearizabilityChecker {
    package enum Verdict: Sendable, Equatable {
        case linearizable
        /// With a sentence about how far any order came.
        case violated(String)
        /// The search was given up.
        case undecided
    }

    private struct Tried: Hashable {
        var ordered: [UInt64]
        var state: KeyModel.State
    }

    private struct Frame {
        var state: KeyModel.State
        /// Places in `operations`, to be tried in this order.
        var candidates: [Int]
        var next = 0
        /// The first known one that isn't ordered.
        var firstOpen: Int
    }

    /// Those with a known outcome in the order of their beginnings, then the others likewise.
    private let operations: [ObservedOperation]
    private let knownCount: Int
    private var model = KeyModel()
    private var ordered: [UInt64]
    private var orderedKnown = 0

    private init(_ history: [ObservedOperation]) {
        let known = history.filter { $0.outcome != .unknown }.sorted { $0.began < $1.began }
        let unknown = history.filter { $0.outcome == .unknown && $0.call != .get }.sorted { $0.began < $1.began }
        operations = known + unknown
        knownCount = known.count
        ordered = [UInt64](repeating: 0, count: operations.count / 64 + 1)
    }

    /// - Parameters:
    ///   - history: of one key.
    ///   - initial: the key's value before.
    ///   - stepsMax: how many operations are tried before the search is given up.
    package static func check(
        _ history: [ObservedOperation], initial: [UInt8]? = nil, stepsMax: Int = 400_000
    ) -> Verdict {
        var checker = LinearizabilityChecker(history)
        return checker.search(from: initial, stepsMax: stepsMax)
    }

    private func isOrdered(_ place: Int) -> Bool { ordered[place >> 6] & (1 << UInt64(place & 63)) != 0 }
    private mutating func toggle(_ place: Int) { ordered[place >> 6] ^= 1 << UInt64(place & 63) }

    /// Whatever may come next: it began before any open one ended.
    private mutating func frame(_ state: KeyModel.State, firstOpen: Int) -> Frame {
        var first = firstOpen
        while first < knownCount, isOrdered(first) { first += 1 }
        var firstEnd = UInt64.max
        var candidates: [Int] = []
        for place in first..<knownCount where !isOrdered(place) {
            if operations[place].began > firstEnd { break }
            firstEnd = min(firstEnd, operations[place].ended)
            candidates.append(place)
        }
        if let idle = candidates.first(where: { operations[$0].isIdle && model.apply(operations[$0], in: state) != nil }
        ) {
            return Frame(state: state, candidates: [idle], firstOpen: first)
        }
        candidates.sort { operations[$0].hint < operations[$1].hint }
        for place in knownCount..<operations.count where !isOrdered(place) {
            if operations[place].began > firstEnd { break }
            candidates.append(place)
        }
        return Frame(state: state, candidates: candidates, firstOpen: first)
    }

    private mutating func search(from initial: [UInt8]?, stepsMax: Int) -> Verdict {
        var frames = [frame(model.state(initial), firstOpen: 0)]
        var chosen: [Int] = []
        var tried: Set<Tried> = []
        var steps = 0
        var farthest = (count: -1, sentence: "")
        while let top = frames.last {
            if orderedKnown == knownCount { return .linearizable }
            if orderedKnown > farthest.count { farthest = (orderedKnown, sentence(top)) }
            guard top.next < top.candidates.count else {
                frames.removeLast()
                if let last = chosen.popLast() {
                    toggle(last)
                    if last < knownCount { orderedKnown -= 1 }
                }
                continue
            }
            frames[frames.count - 1].next += 1
            let place = top.candidates[top.next]
            guard let state = model.apply(operations[place], in: top.state) else { continue }
            // What nobody has seen and changes nothing explains nothing.
            if place >= knownCount, state == top.state { continue }
            steps += 1
            if steps > stepsMax { return .undecided }
            toggle(place)
            guard tried.insert(Tried(ordered: ordered, state: state)).inserted else {
                toggle(place)
                continue
            }
            if place < knownCount { orderedKnown += 1 }
            chosen.append(place)
            frames.append(frame(state, firstOpen: top.firstOpen))
        }
        return .violated(farthest.sentence)
    }

    private func sentence(_ frame: Frame) -> String {
        let open = frame.candidates.filter { $0 < knownCount }.map { place in
            "#\(operations[place].id) \(Self.describe(operations[place]))"
        }
        let value = model.value(frame.state).map(Self.describe) ?? "absent"
        return
            "\(orderedKnown) of \(knownCount) operations can be ordered; then the value is \(value), and next would be "
            + open.joined(separator: " or ")
    }

    package static func describe(_ operation: ObservedOperation) -> String {
        switch operation.outcome {
        case .value(let value): "\(describe(operation.call)) = \(value.map(describe) ?? "absent")"
        case .written(let reply): "\(describe(operation.call)) = \(reply)"
        case .unknown: "\(describe(operation.call)), unknown"
        }
    }

    static func describe(_ call: ObservedOperation.Call) -> String {
        switch call {
        case .get: "get"
        case .write(.put(let value)): "put \(describe(value))"
        case .write(.append(let value)): "append \(describe(value))"
        case .write(.delete): "delete"
        case .write(.compareAndSet(let expected, let value)):
            "compare \(expected.map(describe) ?? "absent") and set \(value.map(describe) ?? "absent")"
        }
    }

    /// The end of a value, which is what differs.
    static func describe(_ value: [UInt8]) -> String {
        let text = String(decoding: value.suffix(40), as: UTF8.self)
        return value.count > 40 ? "…\(text)" : "\"\(text)\""
    }
}
