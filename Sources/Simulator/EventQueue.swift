/// Events in the order of their virtual time; equal times in the order in which they were scheduled.
package struct EventQueue<Event> {
    /// Small, since the heap moves it about; the event itself stays where it is.
    private struct Item {
        var time: UInt64
        var serial: UInt64
        var slot: Int

        static func < (left: Item, right: Item) -> Bool { (left.time, left.serial) < (right.time, right.serial) }
    }

    private var heap: [Item] = []
    private var serial: UInt64 = 0
    private var events: [Event?] = []
    private var freeSlots: [Int] = []

    package init() {}

    package mutating func schedule(_ event: Event, at time: UInt64) {
        serial += 1
        let slot: Int
        if let free = freeSlots.popLast() {
            slot = free
            events[slot] = event
        } else {
            slot = events.count
            events.append(event)
        }
        heap.append(Item(time: time, serial: serial, slot: slot))
        var child = heap.count - 1
        while child > 0, heap[child] < heap[(child - 1) / 2] {
            heap.swapAt(child, (child - 1) / 2)
            child = (child - 1) / 2
        }
    }

    package mutating func next() -> (time: UInt64, event: Event)? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        if !heap.isEmpty {
            heap[0] = last
            var parent = 0
            while true {
                var smallest = parent
                for child in 2 * parent + 1...2 * parent + 2 where child < heap.count {
                    if heap[child] < heap[smallest] { smallest = child }
                }
                if smallest == parent { break }
                heap.swapAt(smallest, parent)
                parent = smallest
            }
        }
        guard let event = events[first.slot].take() else {
            preconditionFailure("the event of slot \(first.slot) is gone")
        }
        freeSlots.append(first.slot)
        return (first.time, event)
    }
}
