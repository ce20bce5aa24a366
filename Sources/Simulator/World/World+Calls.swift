internal import ClientCore
internal import Keyspace

/// One call to the controller that is under way.
struct PendingCall {
    enum Owner {
        case clientMap(client: Int, life: UInt64, operation: Int, attempt: Int)
        case administrator
    }

    var call: ControllerCall
    var owner: Owner
    var body: World.Request.Body
    var attempt = 0
    var isAsking = false
}

/// Calls of clients and the administrator to the controller, through the core that they share.
extension World {
    mutating func call(_ body: Request.Body, changes: Bool, within: Duration, _ owner: PendingCall.Owner) throws {
        let id = Int(takeNumber())
        let call = ControllerCall(endpoints: controllerAddresses, changes: changes, now: time, within: within)
        calls[id] = PendingCall(call: call, owner: owner, body: body)
        try advance(call: id) { [time = self.time] call, state in call.begin(&state, now: time) }
    }

    private mutating func advance(
        call id: Int, _ input: (inout ControllerCall, inout ControllerState) -> ControllerCall.Step
    ) throws {
        guard var pending = calls.removeValue(forKey: id) else { return }
        let step: ControllerCall.Step
        let place: Place
        switch pending.owner {
        case .clientMap(let client, let life, _, _):
            // A program that has ended asks nobody.
            guard clients[client].life == life else { return }
            step = input(&pending.call, &clients[client].controllers)
            place = clients[client].place
        case .administrator:
            step = input(&pending.call, &administrator.controllers)
            place = Self.administratorPlace
        }
        pending.attempt += 1
        switch step {
        case .ask(let address, let patience):
            guard let node = nodesByAddress[address] else { return }
            pending.isAsking = true
            calls[id] = pending
            send(Request(from: place, to: node, asker: .call(id, attempt: pending.attempt), body: pending.body))
            queue.schedule(.callEnds(call: id, attempt: pending.attempt), at: Self.milliseconds(time + patience))
        case .wait(let until):
            pending.isAsking = false
            calls[id] = pending
            queue.schedule(.callEnds(call: id, attempt: pending.attempt), at: Self.milliseconds(until))
        case .failed(let failure): try ended(pending, .failure(failure))
        }
    }

    mutating func heard(_ body: Answer.Body, call id: Int, attempt: Int) throws {
        guard let pending = calls[id], pending.attempt == attempt, pending.isAsking else { return }
        switch body {
        case .map(let map):
            calls[id] = nil
            switch pending.owner {
            case .clientMap(let client, let life, _, _):
                guard clients[client].life == life else { return }
                pending.call.answered(&clients[client].controllers)
            case .administrator: pending.call.answered(&administrator.controllers)
            }
            try ended(pending, .success(map))
        case .refused(let error):
            try advance(call: id) { [time = self.time] call, state in call.refused(error, &state, now: time) }
        case .nobody:
            try advance(call: id) { [time = self.time] call, state in call.silent(hasLeft: false, &state, now: time) }
        case .keys: return
        }
    }

    mutating func callEnds(_ id: Int, _ attempt: Int) throws {
        guard let pending = calls[id], pending.attempt == attempt else { return }
        try advance(call: id) { [time = self.time] call, state in
            pending.isAsking
                ? call.silent(hasLeft: true, &state, now: time) : call.woken(&state, now: time)
        }
    }

    private mutating func ended(_ pending: PendingCall, _ result: Result<ShardMap, CallFailure>) throws {
        switch pending.owner {
        case .clientMap(let client, let life, let operation, let attempt):
            try mapArrived(result, client, life, operation, attempt)
        case .administrator: administrator.ended(result)
        }
    }
}
