public import Bytes

/// One replica as its group knows it.
public struct Member: Sendable, Hashable {
    public enum Standing: UInt8, Sendable {
        case voter = 0
        /// Receives the log without a vote, and becomes a voter as soon as it has caught up.
        case joining = 1
        /// Receives the log without a vote.
        case learner = 2
    }

    public var id: ReplicaID
    public var address: String
    public var incarnation: Incarnation
    public var standing: Standing

    public init(id: ReplicaID, address: String, incarnation: Incarnation, standing: Standing) {
        self.id = id
        self.address = address
        self.incarnation = incarnation
        self.standing = standing
    }
}

/// Who belongs to a group, at one index of its log. Changes come one at a time, so that any majority of
/// the old and any majority of the new voters overlap (section 4.1 of Ongaro's dissertation).
public struct Membership: Sendable, Equatable {
    /// Ordered by id.
    public let members: [Member]
    /// Those with a vote, in the same order.
    public let voters: [ReplicaID]
    /// The index of the entry that made it; 0 for the bootstrap record.
    public var index: LogIndex

    public init(members: [Member], index: LogIndex = 0) {
        self.members = members.sorted { $0.id < $1.id }
        voters = self.members.filter { $0.standing == .voter }.map(\.id)
        self.index = index
    }

    public static let none = Membership(members: [])
    /// What an address is to a membership: bytes, so many at most.
    public static let addressBytesMax = 1024
    public static let membersMax = 64

    public subscript(id: ReplicaID) -> Member? { members.first { $0.id == id } }

    public func isVoter(_ id: ReplicaID) -> Bool { self[id]?.standing == .voter }

    /// How many votes decide.
    public var quorum: Int { voters.count / 2 + 1 }

    /// Why a change can't be made as asked.
    public enum ChangeError: Error, Equatable, Sendable, CustomStringConvertible {
        case alreadyMember(ReplicaID)
        case notMember(ReplicaID)
        case addressInUse(String, by: ReplicaID)
        case lastVoter(ReplicaID)
        case addressTooLong(ReplicaID)
        case tooMany

        public var description: String {
            switch self {
            case .alreadyMember(let id): "member \(id) exists already; use replace if it lost its disk"
            case .notMember(let id): "there is no member \(id); use add if it is new"
            case .addressInUse(let address, let id): "\(address) is the address of member \(id)"
            case .addressTooLong(let id):
                "the address of member \(id) has more than \(Membership.addressBytesMax) bytes"
            case .tooMany: "a group has at most \(Membership.membersMax) members"
            case .lastVoter(let id): "member \(id) is the last voter; add another one first"
            }
        }
    }

    public func applying(_ change: MembershipChange, at index: LogIndex) throws(ChangeError) -> Membership {
        var next = members
        func position(_ id: ReplicaID) throws(ChangeError) -> Int {
            guard let found = next.firstIndex(where: { $0.id == id }) else { throw .notMember(id) }
            return found
        }
        func checkAddress(_ address: String, for id: ReplicaID) throws(ChangeError) {
            guard address.utf8.count <= Self.addressBytesMax else { throw .addressTooLong(id) }
            if let other = next.first(where: { $0.address == address && $0.id != id }) {
                throw .addressInUse(address, by: other.id)
            }
        }
        func keepsAVoter(without id: ReplicaID) throws(ChangeError) {
            if voters == [id] { throw .lastVoter(id) }
        }
        switch change {
        case .add(let id, let address, let incarnation):
            if self[id] != nil { throw .alreadyMember(id) }
            guard members.count < Self.membersMax else { throw .tooMany }
            try checkAddress(address, for: id)
            next.append(Member(id: id, address: address, incarnation: incarnation, standing: .joining))
        case .remove(let id):
            let found = try position(id)
            try keepsAVoter(without: id)
            next.remove(at: found)
        case .replace(let id, let address, let incarnation):
            let found = try position(id)
            try checkAddress(address, for: id)
            if next[found].incarnation == incarnation {
                next[found].address = address
            } else {
                try keepsAVoter(without: id)
                next[found] = Member(id: id, address: address, incarnation: incarnation, standing: .joining)
            }
        case .promote(let id, let incarnation):
            let found = try position(id)
            guard next[found].incarnation == incarnation else { throw .notMember(id) }
            next[found].standing = .voter
        }
        return Membership(members: next, index: index)
    }

    public func encode(to writer: inout ByteWriter) {
        writer.varint(index)
        writer.varint(members.count)
        for member in members {
            writer.varint(member.id.rawValue)
            writer.string(member.address)
            writer.bytes += member.incarnation.bytes
            writer.byte(member.standing.rawValue)
        }
    }

    public init(from reader: inout ByteReader) throws(CodingError) {
        let index = try reader.varint()
        var members: [Member] = []
        for _ in 0..<(try reader.count()) {
            let id = ReplicaID(try reader.varint())
            let address = try reader.string()
            let incarnation = try Incarnation(from: &reader)
            guard let standing = Member.Standing(rawValue: try reader.byte()) else { throw CodingError("membership") }
            members.append(Member(id: id, address: address, incarnation: incarnation, standing: standing))
        }
        self.init(members: members, index: index)
    }

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        encode(to: &writer)
        return writer.bytes
    }

    public init(encoded: [UInt8]) throws(CodingError) {
        var reader = ByteReader(encoded, place: "membership")
        try self.init(from: &reader)
        try reader.finish()
    }
}

extension Incarnation {
    init(from reader: inout ByteReader) throws(CodingError) {
        var bytes: [UInt8] = []
        for _ in 0..<16 { bytes.append(try reader.byte()) }
        guard let value = Incarnation(bytes: bytes) else { throw CodingError("incarnation") }
        self = value
    }
}

/// One step of a membership change: the payload of an entry of kind `membership`.
public enum MembershipChange: Sendable, Equatable {
    case add(ReplicaID, address: String, incarnation: Incarnation)
    case remove(ReplicaID)
    /// The same id with a new disk; without a vote until it has caught up.
    case replace(ReplicaID, address: String, incarnation: Incarnation)
    /// Made by the leader when a joining member has caught up.
    case promote(ReplicaID, incarnation: Incarnation)

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        switch self {
        case .add(let id, let address, let incarnation), .replace(let id, let address, let incarnation):
            if case .add = self { writer.byte(1) } else { writer.byte(3) }
            writer.varint(id.rawValue)
            writer.string(address)
            writer.bytes += incarnation.bytes
        case .remove(let id):
            writer.byte(2)
            writer.varint(id.rawValue)
        case .promote(let id, let incarnation):
            writer.byte(4)
            writer.varint(id.rawValue)
            writer.bytes += incarnation.bytes
        }
        return writer.bytes
    }

    public init(encoded: [UInt8]) throws(CodingError) {
        var reader = ByteReader(encoded, place: "membership change")
        let tag = try reader.byte()
        let id = ReplicaID(try reader.varint())
        switch tag {
        case 1: self = .add(id, address: try reader.string(), incarnation: try Incarnation(from: &reader))
        case 2: self = .remove(id)
        case 3: self = .replace(id, address: try reader.string(), incarnation: try Incarnation(from: &reader))
        case 4: self = .promote(id, incarnation: try Incarnation(from: &reader))
        default: throw CodingError("membership change")
        }
        try reader.finish()
    }
}
