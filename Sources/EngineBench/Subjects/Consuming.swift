internal import Foundation
internal import Synchronization

/// A value that a C library shows is gone with the next call, so whoever keeps it copies it. Our engines answer
/// with such a copy; the C side makes one too, or the comparison would be with a caller that throws values away.
///
/// The copy lives until the next one is made: the compiler leaves out the copying into memory that is freed at once,
/// and with it the wait for the value's bytes.
func copyOut(_ bytes: UnsafeRawPointer?, _ count: Int) {
    guard let bytes, let copy = malloc(max(1, count)) else { return }
    memcpy(copy, bytes, count)
    free(
        UnsafeMutableRawPointer(bitPattern: lastCopy.exchange(UInt(bitPattern: copy), ordering: .acquiringAndReleasing))
    )
}
private let lastCopy = Atomic<UInt>(0)

/// What a reader of a range does at the least: it looks at both ends of what it is shown.
struct Looks {
    private(set) var bytes = 0
    private var seen: UInt8 = 0

    mutating func look(_ key: UnsafeRawBufferPointer, _ value: UnsafeRawBufferPointer) {
        bytes += key.count + value.count
        guard !key.isEmpty, !value.isEmpty else { return }
        seen = seen &+ key[key.count - 1] &+ value[0] &+ value[value.count - 1]
    }

    /// The bytes that were shown.
    func finish() -> Int {
        keep(UInt(seen))
        return bytes
    }
}

/// The compiler would leave out work whose result nobody can see.
private func keep(_ word: UInt) { kept.store(word, ordering: .relaxed) }
private let kept = Atomic<UInt>(0)
