public import Bytes
public import Engines

/// The first membership of a group, agreed before its first election.
///
/// A wiped disk that voted again could elect two leaders. So every directory has a random incarnation, the
/// first membership names the incarnations, and a replica takes part only if it finds its own in the record.
public struct BootstrapRecord: Sendable, Equatable {
    /// Empty for the controller, whose record's hash becomes the cluster's id.
    public var clusterID: [UInt8]
    public var gid: UInt64
    public var membership: Membership
    /// What the founders agreed on beyond themselves (the controller: the number of shards).
    public var parameters: [UInt8]

    public init(clusterID: [UInt8], gid: UInt64, membership: Membership, parameters: [UInt8] = []) {
        self.clusterID = clusterID
        self.gid = gid
        self.membership = membership
        self.parameters = parameters
    }

    /// Where the log of a bootstrapped group begins. Not at 0: whoever joins later can't replay from nothing
    /// and so always starts from a snapshot, which carries the membership.
    public static let position = LogPosition(index: 1, term: 1)

    public var encoded: [UInt8] {
        var writer = ByteWriter()
        writer.byte(1)
        writer.blob(clusterID)
        writer.varint(gid)
        writer.blob(membership.encoded)
        writer.blob(parameters)
        return writer.bytes
    }

    public init(encoded: [UInt8]) throws(CodingError) {
        var reader = ByteReader(encoded, place: "bootstrap record")
        guard try reader.byte() == 1 else { throw CodingError("bootstrap record (unknown version)") }
        clusterID = try reader.blob()
        gid = try reader.varint()
        membership = try Membership(encoded: try reader.blob())
        parameters = try reader.blob()
        try reader.finish()
    }

    /// The identity of the cluster that this (controller's) record founds: 16 bytes, from the founders' ids
    /// and incarnations (an address may be spelled in more than one way).
    public var hash: [UInt8] {
        var founders = ByteWriter()
        for member in membership.members {
            founders.varint(member.id.rawValue)
            founders.bytes += member.incarnation.bytes
        }
        var hash = ContentHash()
        founders.bytes.withUnsafeBytes { hash.add(key: UnsafeRawBufferPointer(start: nil, count: 0), value: $0) }
        return bigEndianBytes(hash.high) + bigEndianBytes(hash.low)
    }

    /// The rows of a group that starts from this record.
    public func write(to layout: GroupLayout, in batch: inout WriteBatch) {
        batch.put(layout.meta, key: GroupLayout.hardStateKey, value: HardState(term: Self.position.term).encoded)
        let start = AppliedState(position: Self.position, logTime: 0)
        batch.put(layout.meta, key: GroupLayout.baseKey, value: start.encoded)
        batch.put(layout.meta, key: GroupLayout.appliedKey, value: start.encoded)
        batch.put(layout.meta, key: GroupLayout.membershipKey, value: membership.encoded)
        writeAlone(to: layout, in: &batch)
    }

    /// The rows of a group that starts from this record with a state that an earlier group made: position, log time,
    /// rows and families of `header`, and this record's members in place of its own. `families`: as loaded here.
    ///
    /// The log begins behind the state. Its term is the one to go on from: nobody has voted in it here.
    public func write(
        restoring header: SnapshotHeader, families: [FamilyID], to layout: GroupLayout, in batch: inout WriteBatch
    ) {
        invariant(header.families.count == families.count, "families don't match their header")
        var restored = header
        restored.membership = membership
        let position = header.applied.position
        batch.put(layout.meta, key: GroupLayout.hardStateKey, value: HardState(term: position.term).encoded)
        batch.put(
            layout.meta, key: GroupLayout.baseKey, value: AppliedState(position: position, logTime: 0).encoded)
        for row in restored.metaRows(families: families) { batch.put(layout.meta, key: row.key, value: row.value) }
        writeAlone(to: layout, in: &batch)
    }

    /// The record and nothing else: for a node that isn't a founder and only shows it to others.
    public func writeAlone(to layout: GroupLayout, in batch: inout WriteBatch) {
        batch.put(layout.meta, key: GroupLayout.bootstrapKey, value: encoded)
    }
}

/// Decides, from what the listed peers answer, when and how a new directory becomes a member. Pure.
///
/// Two rounds: in the first every listed peer tells its incarnation; in the second every one still has it and
/// none has a record. A disk that is wiped between the rounds is found out; one that is wiped after a founder
/// has voted finds that founder's record in the second round.
public struct BootstrapCore: Sendable {
    public struct Answer: Sendable, Equatable {
        public var incarnation: Incarnation
        public var record: BootstrapRecord?
        public init(incarnation: Incarnation, record: BootstrapRecord?) {
            self.incarnation = incarnation
            self.record = record
        }
    }

    public enum Decision: Sendable, Equatable {
        /// Ask these again.
        case await([ReplicaID])
        /// Write the record (synced), then take part.
        case adopt(BootstrapRecord)
        /// Somebody has a record without this incarnation: wait, without a vote, to be made a member.
        case waitForReplacement(BootstrapRecord)
    }

    private let own: ReplicaID
    private let incarnation: Incarnation
    private let addresses: [ReplicaID: String]
    private let clusterID: [UInt8]
    private let gid: UInt64
    private let parameters: [UInt8]
    private var collected: [ReplicaID: Incarnation] = [:]
    private var confirmed: Set<ReplicaID> = []

    public init(
        own: ReplicaID, incarnation: Incarnation, addresses: [ReplicaID: String], clusterID: [UInt8], gid: UInt64,
        parameters: [UInt8]
    ) {
        self.own = own
        self.incarnation = incarnation
        self.addresses = addresses
        self.clusterID = clusterID
        self.gid = gid
        self.parameters = parameters
        collected[own] = incarnation
        confirmed = [own]
    }

    private var peers: [ReplicaID] { addresses.keys.filter { $0 != own }.sorted() }

    /// Whom to ask next; nobody if the decision is made.
    public var awaits: [ReplicaID] {
        let missing = peers.filter { collected[$0] == nil }
        return missing.isEmpty ? peers.filter { !confirmed.contains($0) } : missing
    }

    public var decision: Decision {
        let missing = awaits
        if !missing.isEmpty { return .await(missing) }
        let members = addresses.compactMap { id, address in
            collected[id].map { Member(id: id, address: address, incarnation: $0, standing: .voter) }
        }
        return .adopt(
            BootstrapRecord(
                clusterID: clusterID, gid: gid, membership: Membership(members: members), parameters: parameters))
    }

    public mutating func answered(_ peer: ReplicaID, _ answer: Answer) -> Decision {
        if let record = answer.record {
            if record.membership[own]?.incarnation == incarnation { return .adopt(record) }
            return .waitForReplacement(record)
        }
        if let known = collected[peer] {
            if known == answer.incarnation {
                // The second round begins only when the first is complete.
                if peers.allSatisfy({ collected[$0] != nil }) { confirmed.insert(peer) }
            } else {
                collected = [own: incarnation]
                confirmed = [own]
                collected[peer] = answer.incarnation
            }
        } else {
            collected[peer] = answer.incarnation
            confirmed = [own]
        }
        return decision
    }
}
