internal import Engines
internal import Foundation

/// The key before, in room that is made once: a scan that allocates for no record.
final class KeyBuffer {
    private let room = UnsafeMutableRawBufferPointer.allocate(byteCount: EngineLimits.keyBytesMax, alignment: 8)
    private var count = -1

    deinit { room.deallocate() }

    var isEmpty: Bool { count < 0 }
    var bytes: [UInt8]? { count < 0 ? nil : Array(room[..<count]) }

    /// Takes a key that must follow the last one; false if it doesn't, or if no key can be so long.
    @inline(__always)
    func advance(to key: UnsafeRawBufferPointer) -> Bool {
        guard key.count <= room.count, let base = key.baseAddress, let held = room.baseAddress else { return false }
        if count >= 0 {
            let order = memcmp(held, base, min(count, key.count))
            guard order < 0 || (order == 0 && count < key.count) else { return false }
        }
        memcpy(held, base, key.count)
        count = key.count
        return true
    }
}

extension InspectedGroup {
    /// Visits `lower..<upper` of a family in order until `body` returns false. Keys that don't ascend are damage: an
    /// engine whose pages were changed may show them, and go round in circles.
    func scan(
        _ family: FamilyID, _ name: String, lower: [UInt8] = [], upper: [UInt8]? = nil, _ progress: ReadProgress,
        _ body: (_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) -> Bool
    ) throws(EngineError) {
        let place = place(of: family, name)
        progress.enter(place)
        let previous = KeyBuffer()
        let cursor = try view.cursor(family, lower: lower, upper: upper, reverse: false)
        var isOrdered = true
        while true {
            let goOn = try cursor.next { key, value -> Bool in
                isOrdered = previous.advance(to: key)
                guard isOrdered else { return false }
                progress.count(key.count + value.count)
                return body(key, value)
            }
            guard let goOn else { return }
            guard isOrdered else { throw .corruption(place: "\(place): keys out of order") }
            if !goOn { return }
        }
    }
}
