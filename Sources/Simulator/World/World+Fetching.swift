internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// A shard on its way to a disk. It is lost with the process.
struct Incoming {
    let call: StageCall
    let then: PeerContinuation
    var plan: TransferPlan
    /// What the present source has.
    var offer: ExportOffer?
    var rows: [FamilyRow] = []
    /// When the plan is woken; 0: it isn't to be.
    var alarm: UInt64 = 0

    init(call: StageCall, then: @escaping PeerContinuation) {
        self.call = call
        self.then = then
        plan = TransferPlan(from: call.order.addresses, of: "group \(call.order.source.gid)")
    }
}

/// Carries out what a `TransferPlan` says, as `ExportFetch` does. A row stands for a byte of a file, an export for one
/// file.
extension World {
    private static let openPatience: UInt64 = 600_000
    private static let probePatience: UInt64 = 1_000
    private static let closePatience: UInt64 = 2_000

    mutating func fetch(_ incoming: Incoming, on node: Int) throws {
        let number = takeNumber()
        nodes[node].desks.incoming[number] = incoming
        try plan(number, on: node) { [now = self.now] in $0.begin(now: now) }
    }

    /// Tells the plan something, and carries out what it says. Nothing comes of a fetch that is over.
    private mutating func plan(
        _ number: UInt64, on node: Int, _ input: (inout TransferPlan) -> [TransferPlan.Step]
    ) throws {
        guard
            let steps = nodes[node].desks.incoming[number].map({ incoming in
                var plan = incoming.plan
                let steps = input(&plan)
                nodes[node].desks.incoming[number]?.plan = plan
                return steps
            })
        else { return }
        for step in steps { try carryOut(step, of: number, on: node) }
        guard let incoming = nodes[node].desks.incoming[number], let wakeAt = incoming.plan.wakeAt,
            incoming.alarm <= now || wakeAt < incoming.alarm
        else { return }
        nodes[node].desks.incoming[number]?.alarm = max(wakeAt, now + 1)
        after(max(wakeAt, now + 1) - now, on: node) { world in
            // Later, if the process stood still; not at all, if the alarm was put off.
            guard let alarm = world.nodes[node].desks.incoming[number]?.alarm, alarm <= world.now else { return }
            let now = world.now
            try world.plan(number, on: node) { $0.woken(now: now) }
        }
    }

    private mutating func carryOut(_ step: TransferPlan.Step, of number: UInt64, on node: Int) throws {
        guard let incoming = nodes[node].desks.incoming[number] else { return }
        switch step {
        case .open(let turn, let address): open(address, turn, of: number, incoming.call.order, on: node)
        case .arrange(_, let keeping):
            if keeping.isEmpty { nodes[node].desks.incoming[number]?.rows = [] }
        case .read(let part):
            if part.offset > 0 { report.resumed += 1 }
            read(part, of: number, on: node)
        // What comes of it all the same is of another turn.
        case .stop: break
        case .probe(let address):
            guard let source = nodesByAddress[address] else { return }
            ask(.whoLeads, at: source, by: node, within: Self.probePatience, isWatched: false) { world, result in
                var isAlive = true
                if case .failure(let failure) = result { isAlive = failure.refusal != nil }
                let now = world.now
                try world.plan(number, on: node) { $0.probed(isAlive: isAlive, at: address, now: now) }
            }
        case .close(let address, let export):
            guard let source = nodesByAddress[address] else { return }
            ask(.closeExport(export), at: source, by: node, within: Self.closePatience) { _, _ in }
        case .done:
            nodes[node].desks.incoming[number] = nil
            try load(incoming.offer ?? ExportOffer(id: 0), incoming, on: node)
        case .failed(let sentence):
            nodes[node].desks.incoming[number] = nil
            try end(incoming.call, on: node, .failure(PeerFailure(sentence)), incoming.then)
        }
    }

    private mutating func open(
        _ address: String, _ turn: UInt64, of number: UInt64, _ order: StageOrder, on node: Int
    ) {
        guard let source = nodesByAddress[address] else { return }
        ask(
            .openExport(order.shard, order.source), at: source, by: node, within: Self.openPatience, isWatched: false
        ) { world, result in
            let now = world.now
            switch result {
            case .success(.export(let offer)):
                if let present = world.nodes[node].desks.incoming[number], present.plan.awaits(turn) {
                    world.nodes[node].desks.incoming[number]?.offer = offer
                }
                let opened = TransferPlan.Offer(export: offer.id, header: [], manifests: Self.manifests(of: offer))
                try world.plan(number, on: node) { $0.opened(opened, turn: turn, room: .max, now: now) }
            case .success: try world.violate("a question was answered as another one")
            case .failure(let failure):
                try world.plan(number, on: node) { $0.notOpened(failure.reason, turn: turn, now: now) }
            }
        }
    }

    /// One file with as many bytes as there are rows.
    private static func manifests(of offer: ExportOffer) -> [FamilyManifest] {
        guard let hash = offer.contentHash else { return [] }
        // Replicas of one frozen shard have the same rows in the same order.
        let sum = hash.utf8.reduce(UInt32(7)) { $0 &* 31 &+ UInt32($1) }
        let file = FamilyManifest.File(name: "rows", bytes: UInt64(offer.count), crc32c: sum)
        return [
            FamilyManifest(
                format: "rows", files: [file], keys: UInt64(offer.count), bytes: 0, firstKey: nil, lastKey: nil,
                contentHash: hash)
        ]
    }

    /// Piece by piece, until all has come or something fails.
    private mutating func read(_ part: TransferPlan.Part, of number: UInt64, on node: Int) {
        guard let source = nodesByAddress[part.address], let incoming = nodes[node].desks.incoming[number] else {
            return
        }
        let have = incoming.rows.count
        guard have < part.bytes else {
            return after(1, on: node) { world in
                let now = world.now
                try world.plan(number, on: node) { $0.ended(turn: part.turn, now: now) }
            }
        }
        ask(
            .readExport(part.export, from: have), at: source, by: node, within: Self.openPatience, isWatched: false
        ) { world, result in
            let now = world.now
            switch result {
            case .success(.rows(let piece)):
                guard var incoming = world.nodes[node].desks.incoming[number], incoming.plan.awaits(part.turn) else {
                    return
                }
                incoming.rows += world.damaged(piece, on: node)
                let isWanted = incoming.plan.received(UInt64(piece.count), turn: part.turn, now: now) != nil
                world.nodes[node].desks.incoming[number] = incoming
                guard isWanted, !piece.isEmpty else {
                    return try world.plan(number, on: node) { $0.ended(turn: part.turn, now: now) }
                }
                world.read(part, of: number, on: node)
            case .success: try world.violate("a question was answered as another one")
            case .failure(let failure):
                try world.plan(number, on: node) {
                    $0.broke(
                        failure.reason, isForgotten: failure.refusal?.code == .notFound, turn: part.turn, now: now)
                }
            }
        }
    }
}
