internal import ClientCore
internal import Keyspace

/// Streams of requests from clients to nodes, as `SessionStream` has them: `SessionWindow` decides who is told what.
extension World {
    struct StreamID {
        var client: Int
        var life: UInt64
        var address: String
        var number: UInt64
    }

    /// As `SessionStream` has it: time isn't told for each of many deadlines that are near each other.
    private static let alarmsApart: UInt64 = 20

    /// What queues now goes out in one frame, a little later.
    mutating func send(
        _ request: KvRequest, to address: String, _ patience: Patience, for waiter: WorldClient.Waiter,
        _ client: WorldClient
    ) throws {
        if client.streams[address]?.window.isBroken ?? true {
            client.streams[address] = WorldClient.Stream(number: takeNumber())
        }
        guard var stream = client.streams[address] else { return }
        guard let ticket = stream.window.send(waiter, patience, now: time) else {
            return try tell(waiter, .notSent, client)
        }
        let id = StreamID(client: client.number, life: client.life, address: address, number: stream.number)
        if let alarm = ticket.alarm { set(Self.milliseconds(alarm), id, &stream) }
        if stream.queue.count >= knobs.streamQueueMax {
            let refused = stream.window.refused(ticket.id)
            client.streams[address] = stream
            if let refused { try tell(refused, .notSent, client) }
            return
        }
        var request = request
        request.id = ticket.id
        stream.queue.append(request)
        if !stream.isSending {
            stream.isSending = true
            queue.schedule(.streamSends(id), at: now + UInt64.random(in: 0...2, using: &random))
        }
        client.streams[address] = stream
    }

    private mutating func set(_ alarm: UInt64, _ id: StreamID, _ stream: inout WorldClient.Stream) {
        stream.alarm = max(alarm, now)
        queue.schedule(.streamAlarm(id), at: stream.alarm)
    }

    private func client(of id: StreamID) -> WorldClient? {
        let client = clients[id.client]
        return client.life == id.life && client.streams[id.address]?.number == id.number ? client : nil
    }

    mutating func streamSends(_ id: StreamID) throws {
        guard let client = client(of: id), var stream = client.streams[id.address],
            let node = nodesByAddress[id.address]
        else { return }
        stream.isSending = false
        let queued = stream.queue
        stream.queue = []
        client.streams[id.address] = stream
        guard !stream.window.isBroken, !queued.isEmpty else { return }
        let arrival = arrivals(from: client.place, to: node).first
        // Nobody accepts the connection: nothing has left.
        if arrival != nil, !nodes[node].isUp, !nodes[node].hasStranger { return try streamBreaks(id) }
        let requests = stream.window.taken(queued)
        client.streams[id.address] = stream
        guard let arrival else { return }
        let late = network.repeatPercent > 0 && chance(4) ? UInt64.random(in: 100...4_000, using: &random) : 0
        for request in requests {
            queue.schedule(
                .request(Request(from: client.place, to: node, asker: .stream(id), body: .keys(request))),
                at: arrival + late)
        }
    }

    mutating func heard(_ body: Answer.Body, over id: StreamID) throws {
        guard let client = client(of: id), case .keys(let response) = body,
            let told = client.streams[id.address]?.window.received([response], now: time)
        else { return }
        for (waiter, outcome) in told { try tell(waiter, outcome, client) }
    }

    mutating func streamAlarm(_ id: StreamID) throws {
        // Not if the alarm was put off.
        guard let client = client(of: id), var stream = client.streams[id.address], stream.alarm > 0,
            stream.alarm <= now
        else { return }
        stream.alarm = 0
        let (told, alarm) = stream.window.time(time)
        if let alarm { set(max(Self.milliseconds(alarm), now + Self.alarmsApart), id, &stream) }
        client.streams[id.address] = stream
        for (waiter, outcome) in told { try tell(waiter, outcome, client) }
    }

    mutating func streamBreaks(_ id: StreamID) throws {
        guard let client = client(of: id), let told = client.streams[id.address]?.window.failed() else { return }
        for (waiter, outcome) in told { try tell(waiter, outcome, client) }
    }

    /// A process ends, and its connections with it: whoever can be reached hears of it.
    mutating func breakStreams(to node: Int) {
        for client in clients {
            guard let stream = client.streams[nodes[node].address], !stream.window.isBroken,
                let arrival = arrivals(from: node, to: client.place).first
            else { continue }
            let id = StreamID(
                client: client.number, life: client.life, address: nodes[node].address, number: stream.number)
            queue.schedule(.streamBreaks(id), at: arrival)
        }
    }
}
