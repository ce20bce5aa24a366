internal import ClientCore
internal import Engines
internal import Keyspace
internal import RaftLog
internal import Sharding

/// What the network does to whatever is sent.
struct Network {
    /// One direction: what goes from one place to the other is lost.
    struct Link: Hashable {
        var from: Int
        var to: Int
    }

    var cut: Set<Link> = []
    var lossPercent: UInt64 = 0
    var repeatPercent: UInt64 = 0
    var delayMax: UInt64 = 4
    var diskDelayMax: UInt64 = 4
    /// What a link between two nodes carries in a millisecond; 0: as much as there is.
    var bandwidth: UInt64 = 0
    /// What waits for a link beyond that is lost.
    var queueBytesMax: UInt64 = .max
    /// Until when a link is busy with what was sent before.
    var busyUntil: [Link: UInt64] = [:]

    /// How long so many bytes are on their way behind what a link is at; `nil`: they find no room in its queue.
    mutating func transmit(_ bytes: Int, over link: Link, now: UInt64) -> UInt64? {
        guard bandwidth > 0 else { return 0 }
        let begin = max(now, busyUntil[link] ?? 0)
        if begin > now, (begin - now) * bandwidth + UInt64(bytes) > queueBytesMax { return nil }
        let end = begin + (UInt64(bytes) + bandwidth - 1) / bandwidth
        busyUntil[link] = end
        return end - now
    }
}

extension World {
    /// Where something is sent from or to: nodes have the numbers of `nodes`, everybody else negative ones.
    typealias Place = Int
    static let administratorPlace: Place = -1
    static func place(ofClient client: Int) -> Place { -2 - client }

    /// Who waits for an answer.
    enum Asker {
        case stream(StreamID)
        case call(Int, attempt: Int)

        /// It is answered as a client's operation, else as a call to the controller.
        var isOperation: Bool { if case .stream = self { true } else { false } }
    }

    struct Request {
        enum Body {
            case keys(KvRequest)
            case query
            case command([UInt8])
        }

        var from: Place
        var to: Int
        var asker: Asker
        var body: Body
    }

    struct Answer {
        enum Body {
            case keys(KvResponse)
            case map(ShardMap)
            case refused(KvError)
            /// Nobody listens at the address: the request never left.
            case nobody
        }

        var from: Int
        var to: Place
        var asker: Asker
        var body: Body
    }

    struct SnapshotParcel {
        var from: Int
        var fromLife: UInt64
        var to: Int
        var header: SnapshotHeader
        var contents: [[(key: [UInt8], value: [UInt8])]]
    }

    /// When something that is sent now arrives: `nil` if it is lost; a second time if it is repeated, perhaps very late.
    mutating func arrivals(from: Place, to: Place, bytes: Int = 96) -> (first: UInt64?, again: UInt64?) {
        let link = Network.Link(from: from, to: to)
        if !network.cut.isEmpty, network.cut.contains(link) { return (nil, nil) }
        if network.lossPercent > 0, chance(network.lossPercent) { return (nil, nil) }
        // Clients have lines of their own.
        guard let passing = from < 0 || to < 0 ? 0 : network.transmit(bytes, over: link, now: now) else {
            return (nil, nil)
        }
        let first = now + passing + delay(network.delayMax)
        guard network.repeatPercent > 0, chance(network.repeatPercent) else { return (first, nil) }
        return (first, now + (chance(20) ? UInt64.random(in: 100...5_000, using: &random) : network.delayMax * 3))
    }

    mutating func send(_ message: Message, from node: Int) {
        let members = groups[nodes[node].group].nodes
        guard let target = Int(exactly: message.to.rawValue), members.indices.contains(target) else { return }
        let to = members[target]
        let (first, again) = arrivals(from: node, to: to, bytes: message.approximateBytes)
        guard let first else {
            note(node, "lose \(describe(message, of: nodes[node].group))")
            return
        }
        queue.schedule(.deliver(node: to, message, isLate: false), at: first)
        if let again { queue.schedule(.deliver(node: to, message, isLate: true), at: again) }
    }

    /// A request crosses in a connection, which nobody accepts where no process is: then it never left. Otherwise it
    /// comes once, or very late, or not at all. It never comes twice: what a node has refused is not done later.
    mutating func send(_ request: Request) {
        guard let first = arrivals(from: request.from, to: request.to).first else { return }
        guard nodes[request.to].isUp else { return reply(.nobody, to: request) }
        let late = network.repeatPercent > 0 && chance(4) ? UInt64.random(in: 100...4_000, using: &random) : 0
        queue.schedule(.request(request), at: first + late)
    }

    mutating func send(_ answer: Answer) {
        guard let first = arrivals(from: answer.from, to: answer.to).first else { return }
        queue.schedule(.answer(answer), at: first)
    }

    mutating func reply(_ body: Answer.Body, to request: Request) {
        var body = body
        if case .keys(var response) = body, case .keys(let asked) = request.body {
            response.id = asked.id
            body = .keys(response)
        }
        send(Answer(from: request.to, to: request.from, asker: request.asker, body: body))
    }

    mutating func receive(_ answer: Answer) throws {
        switch answer.asker {
        case .stream(let stream): try heard(answer.body, over: stream)
        case .call(let call, let attempt): try heard(answer.body, call: call, attempt: attempt)
        }
    }

    func describe(_ message: Message, of group: Int) -> String {
        func name(_ id: ReplicaID) -> String {
            let members = groups[group].nodes
            return members.indices.contains(Int(id.rawValue)) ? nodes[members[Int(id.rawValue)]].name : "n\(id)"
        }
        return "\(name(message.from))->\(name(message.to)) t\(message.term) " + Simulation.describe(message.body)
    }
}
