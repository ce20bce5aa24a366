internal import Bytes
package import Keyspace

/// The sessions of a client's writes: one for each shard, whose time is that of the group which serves it.
///
/// A shard's time is taken for this machine's until a group says otherwise. A session is used for new writes during the
/// first half of its life, so that those writes can be answered before it ends. Then it is kept only for the writes that
/// are still open in it.
package struct SessionTable: Sendable {
    /// A write that is open in a session.
    package struct Write: Sendable, Equatable {
        package let shard: ShardID
        package let token: [UInt8]
        package let sequence: UInt64
    }

    private struct Place: Sendable {
        /// `nil`: the next write needs a new one.
        var current: WriteSession?
        /// The shard's time less that of this machine, in milliseconds.
        var ahead: Int64 = 0
        /// Those that were replaced while writes were open in them.
        var older: [WriteSession] = []

        func time(_ wall: UInt64) -> UInt64 { UInt64(max(0, Int64(clamping: wall).addingClamped(ahead))) }

        /// In place: a copy of the session would make its array be copied.
        mutating func begin(in shard: ShardID, wall: UInt64, lifetime: UInt64) -> Write? {
            guard let end = current?.end, end > time(wall) + lifetime / 2, let token = current?.token,
                let sequence = current?.begin()
            else { return nil }
            return Write(shard: shard, token: token, sequence: sequence)
        }

        func session(_ token: [UInt8]) -> WriteSession? {
            if let current, current.token == token { return current }
            return older.first { $0.token == token }
        }

        mutating func finish(_ write: Write) {
            if current?.token == write.token {
                current?.finish(write.sequence)
            } else if let index = older.firstIndex(where: { $0.token == write.token }) {
                older[index].finish(write.sequence)
                if !older[index].hasUnanswered { older.remove(at: index) }
            }
        }

        mutating func retire() {
            if let current, current.hasUnanswered { older.append(current) }
            current = nil
        }
    }

    /// By the shard's number, as far as shards were written to: mutating a dictionary's value in place costs allocations,
    /// and every write does it twice.
    private var places: [Place] = []
    /// In milliseconds.
    private let lifetime: UInt64

    /// A shorter life would be over before its first write has an answer; one that is longer is no number of
    /// milliseconds that can be added to another.
    private static let lifetimes: ClosedRange<UInt64> = 1_000...(1 << 60)

    /// - Parameter lifetime: how long a session lasts, in milliseconds.
    package init(lifetime: UInt64) {
        self.lifetime = min(max(lifetime, Self.lifetimes.lowerBound), Self.lifetimes.upperBound)
    }

    /// Begins a write in the shard's session; `nil` if there is none for new writes: then `open` comes first.
    ///
    /// - Parameter wall: this machine's time, in Unix milliseconds.
    package mutating func begin(in shard: ShardID, wall: UInt64) -> Write? {
        guard shard.index < places.count else { return nil }
        return places[shard.index].begin(in: shard, wall: wall, lifetime: lifetime)
    }

    /// Makes a session for the shard's new writes, and begins one in it; in the present one, if somebody else has made it
    /// meanwhile.
    ///
    /// - Parameter token: 16 random bytes.
    package mutating func open(_ token: [UInt8], in shard: ShardID, wall: UInt64) -> Write {
        if let write = begin(in: shard, wall: wall) { return write }
        while places.count <= shard.index { places.append(Place()) }
        places[shard.index].retire()
        var session = WriteSession(token: token, now: places[shard.index].time(wall), lifetime: lifetime)
        let sequence = session.begin()
        places[shard.index].current = session
        return Write(shard: shard, token: token, sequence: sequence)
    }

    /// What an attempt of the write carries now.
    package func stamp(_ write: Write) -> SessionStamp {
        guard let session = places[write.shard.index].session(write.token) else {
            invariantFailure("write \(write.sequence) of shard \(write.shard) has outlived its session")
        }
        return session.stamp(write.sequence)
    }

    /// Nobody will ask about the write again.
    package mutating func finish(_ write: Write) { places[write.shard.index].finish(write) }

    /// A group says that its time for the shard is another one than the write's session was made for: the next session
    /// follows it. Said again by those who wrote in the same session, it counts once.
    ///
    /// - Parameters:
    ///   - logTime: the shard's time, in milliseconds of log time.
    ///   - wall: this machine's time, in Unix milliseconds.
    package mutating func follow(_ logTime: UInt64, refusing write: Write, wall: UInt64) {
        guard places[write.shard.index].current?.token == write.token else { return }
        places[write.shard.index].ahead = Int64(clamping: logTime).subtractingClamped(Int64(clamping: wall))
        places[write.shard.index].retire()
    }

    /// The sessions that servers may know of, to be closed there. New writes get others; those that are open stay in
    /// theirs, and are refused if the servers have closed it before.
    package mutating func retireAll() -> [(shard: ShardID, token: [UInt8])] {
        var begun: [(shard: ShardID, token: [UInt8])] = []
        for index in places.indices {
            if let session = places[index].current, session.hasBegun {
                begun.append((ShardID(clamping: index), session.token))
            }
            places[index].retire()
        }
        return begun
    }
}

extension Int64 {
    fileprivate func addingClamped(_ other: Int64) -> Int64 {
        let (sum, overflows) = addingReportingOverflow(other)
        return overflows ? (other > 0 ? .max : .min) : sum
    }

    fileprivate func subtractingClamped(_ other: Int64) -> Int64 {
        let (difference, overflows) = subtractingReportingOverflow(other)
        return overflows ? (other < 0 ? .max : .min) : difference
    }
}
