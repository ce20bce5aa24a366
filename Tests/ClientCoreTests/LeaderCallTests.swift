import ClientCore
import Keyspace
import Testing

@Suite struct LeaderCallTests {
    private let addresses = ["a:1", "b:1", "c:1"]

    /// Everybody who is asked, if each says the same.
    private func asked(_ call: LeaderCall, _ answer: KvError?) -> [String] {
        var call = call
        var asked: [String] = []
        while let address = call.next() {
            asked.append(address)
            guard call.failed(address, answer) else { break }
        }
        return asked
    }

    @Test func nobodyIsAskedMoreThanTwice() {
        #expect(asked(LeaderCall(addresses, first: nil), nil) == ["a:1", "b:1", "c:1", "a:1", "b:1", "c:1"])
    }

    @Test func whoAnsweredLastIsAskedFirst() {
        #expect(asked(LeaderCall(addresses, first: "c:1"), nil).prefix(3) == ["c:1", "a:1", "b:1"])
    }

    @Test func aHintComesBeforeTheRest() {
        var call = LeaderCall(addresses, first: nil)
        #expect(call.next() == "a:1")
        #expect(call.failed("a:1", KvError(.notLeader, "", leader: "d:1")) == true)
        #expect(call.next() == "d:1")
        #expect(call.failed("d:1", nil) == true)
        #expect(call.next() == "b:1")
    }

    @Test(arguments: [KvError.Code.notLeader, .noLeader, .unavailable])
    func whoDoesNotLeadIsPassedOver(_ code: KvError.Code) {
        #expect(asked(LeaderCall(addresses, first: nil), KvError(code, "")).count == 6)
    }

    @Test(arguments: KvError.Code.allCases.filter { ![.notLeader, .noLeader, .unavailable].contains($0) })
    func theLeadersRefusalIsTheCalls(_ code: KvError.Code) {
        #expect(asked(LeaderCall(addresses, first: nil), KvError(code, "")) == ["a:1"])
    }

    @Test func withoutAddressesNobodyIsAsked() {
        #expect(asked(LeaderCall([], first: nil), nil).isEmpty)
    }
}
