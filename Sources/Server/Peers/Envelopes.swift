package import Bytes
internal import DequeModule
internal import Foundation
package import Keyspace
package import RaftLog
package import Wire

/// Puts Raft messages into frames of about 256 KiB. A longer message goes in pieces, one in a frame; appends wait
/// their turn behind it, since one that came first would be refused, and everything else passes. Pure.
package struct EnvelopePacker {
    package static let frameBytesMax = 256 << 10

    private let gid: GroupID
    /// What may pass.
    private var urgent: [Flotilla_V1_RaftEnvelope] = []
    private var ordered: Deque<Flotilla_V1_RaftEnvelope> = []

    package init(gid: GroupID) { self.gid = gid }

    package var isEmpty: Bool { urgent.isEmpty && ordered.isEmpty }

    package mutating func add(_ message: Message) {
        let encoded = message.encoded
        var envelope = Flotilla_V1_RaftEnvelope()
        envelope.gid = gid.rawValue
        guard encoded.count > Self.frameBytesMax else {
            envelope.message = Data(encoded)
            if case .append = message.body { ordered.append(envelope) } else { urgent.append(envelope) }
            return
        }
        envelope.isPiece = true
        for start in stride(from: 0, to: encoded.count, by: Self.frameBytesMax) {
            let end = min(start + Self.frameBytesMax, encoded.count)
            envelope.message = Data(encoded[start..<end])
            envelope.lastPiece = end == encoded.count
            ordered.append(envelope)
        }
    }

    /// What goes into the next frame; `nil` if there is nothing.
    package mutating func nextFrame() -> [Flotilla_V1_RaftEnvelope]? {
        guard !isEmpty else { return nil }
        var frame = urgent
        urgent = []
        var bytes = 0
        while let next = ordered.first, bytes == 0 || bytes + next.message.count <= Self.frameBytesMax {
            bytes += next.message.count
            frame.append(next)
            ordered.removeFirst()
        }
        return frame
    }
}

/// The other end of `EnvelopePacker`, for one stream. Pure.
package struct EnvelopeUnpacker {
    /// An entry with the largest request, and room for those that came in the same message.
    package static let messageBytesMax = Limits.requestBytesMax + (1 << 20)

    private var pieces: [UInt8] = []

    package init() {}

    /// A message has begun whose last piece has not come.
    package var isUnfinished: Bool { !pieces.isEmpty }

    /// The messages of a group that a frame completes.
    package mutating func unpack(_ envelopes: [Flotilla_V1_RaftEnvelope], gid: GroupID) throws(CodingError) -> [Message]
    {
        var messages: [Message] = []
        messages.reserveCapacity(envelopes.count)
        for envelope in envelopes where envelope.gid == gid.rawValue {
            guard envelope.isPiece else {
                messages.append(try Message(encoded: envelope.message.array))
                continue
            }
            pieces += envelope.message
            guard pieces.count <= Self.messageBytesMax else { throw CodingError("Raft message (too long)") }
            if envelope.lastPiece {
                messages.append(try Message(encoded: pieces))
                pieces = []
            }
        }
        return messages
    }
}
