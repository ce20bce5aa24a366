import Dashboard
import HTTPService
import Testing

/// Pages of other sites must neither read nor act through a browser that can reach the dashboard.
@Suite struct RequestGuardTests {
    private let requests = RequestGuard(hosts: ["Box.example"])

    private func misdirection(_ host: String?) -> String? {
        requests.misdirection(HTTPQuestion("GET", "/", headers: host.map { ["host": $0] } ?? [:]))
    }

    @Test func addressesAndOwnNamesAreAnswered() {
        for host in ["127.0.0.1:8080", "10.1.2.3", "[::1]:8080", "localhost:8080", "box.example:8080", "BOX.example"] {
            #expect(misdirection(host) == nil, "\(host)")
        }
    }

    @Test func namesThatSomebodyElsePointedHereAreRefused() {
        for host in ["evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "", "a:b:c"] {
            #expect(misdirection(host) != nil, "\(host)")
        }
        #expect(misdirection(nil) != nil)
    }

    private func objection(_ change: (inout [String: String]) -> Void = { _ in }) -> String? {
        var headers = [
            "host": "127.0.0.1:8080", "origin": "http://127.0.0.1:8080", "content-type": "application/json",
            "x-flotilla-action": "move",
        ]
        change(&headers)
        return RequestGuard.objection(HTTPQuestion("POST", "/", headers: headers), action: "move")
    }

    @Test func pagesOfOtherSitesCanNotAsk() {
        for (site, isRefused) in [
            (nil, false), ("same-origin", false), ("none", false), ("cross-site", true), ("same-site", true),
        ] {
            let headers = site.map { ["sec-fetch-site": $0] } ?? [:]
            let objection = RequestGuard.objection(toQuestion: HTTPQuestion("GET", "/api/moves", headers: headers))
            #expect((objection != nil) == isRefused, "\(site ?? "absent")")
        }
    }

    @Test func anActionComesFromTheOwnPage() {
        #expect(objection() == nil)
        #expect(objection { $0["sec-fetch-site"] = "same-origin" } == nil)
        #expect(objection { $0["content-type"] = "application/json; charset=utf-8" } == nil)
        #expect(objection { $0["origin"] = "https://127.0.0.1:8080" } == nil)
    }

    @Test func whatAFormOrAnotherSiteCanSendIsRefused() {
        #expect(objection { $0["origin"] = nil } != nil)
        #expect(objection { $0["origin"] = "null" } != nil)
        #expect(objection { $0["origin"] = "http://127.0.0.1:8081" } != nil)
        #expect(objection { $0["origin"] = "http://evil.example" } != nil)
        #expect(objection { $0["sec-fetch-site"] = "cross-site" } != nil)
        #expect(objection { $0["x-flotilla-action"] = nil } != nil)
        #expect(objection { $0["x-flotilla-action"] = "join" } != nil)
        #expect(objection { $0["content-type"] = "text/plain" } != nil)
        #expect(objection { $0["host"] = nil } != nil)
    }
}

@Suite struct BroadcastTests {
    @Test func aStreamBeginsWithWhatItIsGiven() async {
        let broadcast = Broadcast()
        #expect(!broadcast.isHeard)
        guard let stream = broadcast.listen(beginningWith: [2]) else {
            Issue.record("no stream")
            return
        }
        #expect(broadcast.isHeard)
        broadcast.finish()
        var seen: [[UInt8]] = []
        for await piece in stream { seen.append(piece) }
        #expect(seen == [[2]])
    }

    @Test func whoIsSlowGetsTheNewestNotTheOldest() async {
        let broadcast = Broadcast()
        guard let stream = broadcast.listen() else {
            Issue.record("no stream")
            return
        }
        for number in UInt8(0)..<100 { broadcast.send([number]) }
        broadcast.finish()
        var seen: [[UInt8]] = []
        for await piece in stream { seen.append(piece) }
        #expect(seen == [[99]])
    }

    @Test func aKeepAliveTakesNoPiecesPlace() async {
        let broadcast = Broadcast()
        guard let stream = broadcast.listen(beginningWith: [1]) else {
            Issue.record("no stream")
            return
        }
        broadcast.keepAlive([0], after: .zero)
        broadcast.finish()
        var seen: [[UInt8]] = []
        for await piece in stream { seen.append(piece) }
        #expect(seen == [[1]])
    }

    @Test func listenersAreBounded() {
        let broadcast = Broadcast()
        let streams = (0..<Broadcast.listenersMax + 1).map { _ in broadcast.listen() }
        #expect(streams.count { $0 != nil } == Broadcast.listenersMax)
    }
}

@Suite struct HTTPQuestionTests {
    @Test func anAddressIsDecodedOnce() throws {
        let question = try #require(
            HTTPQuestion(method: "GET", target: "/a%20b/%2525?key=c+d&empty&x=%3D%26", headers: [:], body: []))
        #expect(question.path == "/a b/%25")
        #expect(question.parameter("key") == "c d")
        #expect(question.parameter("empty") == "")
        #expect(question.parameter("x") == "=&")
        #expect(question.parameter("absent") == nil)
    }

    @Test func whatIsNoAddressIsRefused() {
        for target in ["", "x", "http://other/", "/%zz", "/?a=%ff%"] {
            #expect(HTTPQuestion(method: "GET", target: target, headers: [:], body: []) == nil, "\(target)")
        }
    }
}
