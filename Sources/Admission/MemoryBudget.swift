internal import Foundation

/// What a server may hold for others at once at its gRPC port: requests that are on their way in, until they are
/// answered, and answers until they have left. It counts what was sent; with the copies that are made of it on its way
/// the process takes two to three times as much.
public final class MemoryBudget: Sendable {
    /// What a stream that isn't read may still bring: HTTP/2's window, which its client was promised.
    public static let windowBytes = 1 << 20
    /// A connection may hold a fourth.
    private static let connectionShare = 4
    /// A session may always have the largest request in its stream, another one coming, and what it is being served.
    private static let connectionBytesMin = 96 << 20
    /// Of the machine's memory.
    private static let defaultShare = 8
    private static let defaultBytesMax = 4 << 30
    /// Below this, one connection of a client and one of a peer can't both have their largest message.
    public static let bytesMin = 256 << 20

    public let bytes: Int
    /// Keys and values.
    public let clients: MemoryLedger
    /// A fourth is kept for what nodes and operators say: clients can't silence Raft, nor hide how the node is.
    public let peers: MemoryLedger

    /// - Parameter bytes: `nil`: a share of the machine's memory.
    public init(bytes: Int? = nil) {
        let bytes = max(bytes ?? Self.defaultBytes(ofMachine: Self.machineBytes), Self.bytesMin)
        self.bytes = bytes
        let ofPeers = bytes / 4
        clients = Self.ledger(bytes - ofPeers)
        peers = Self.ledger(ofPeers)
    }

    public var held: Int { clients.held + peers.held }

    private static func ledger(_ bytes: Int) -> MemoryLedger {
        MemoryLedger(
            MemoryAccount(bytesMax: bytes, holderBytesMax: max(bytes / connectionShare, connectionBytesMin)))
    }

    static func defaultBytes(ofMachine bytes: Int) -> Int {
        min(max(bytes / defaultShare, bytesMin), defaultBytesMax)
    }

    /// What the machine has, or the container.
    private static var machineBytes: Int {
        let machine = Int(clamping: ProcessInfo.processInfo.physicalMemory)
        // "max" if there is no bound.
        let container = try? String(contentsOfFile: "/sys/fs/cgroup/memory.max", encoding: .utf8)
        let bound = (container?.trimmingCharacters(in: .whitespacesAndNewlines)).flatMap { Int($0) }
        return min(machine, bound ?? machine)
    }
}
