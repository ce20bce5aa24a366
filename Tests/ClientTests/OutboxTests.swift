import Keyspace
import Testing
import Wire

@Suite struct OutboxTests {
    @Test func everythingThatQueuedLeavesAtOnceAndInOrder() async {
        let outbox = Outbox<Int>(countMax: 10, bytesMax: 1_000)
        for number in 0..<5 { outbox.push(number, bytes: 1) }
        #expect(await outbox.drain() == [0, 1, 2, 3, 4])
    }

    @Test func aFullQueueRefusesAndForgetsNothing() async {
        let outbox = Outbox<Int>(countMax: 2, bytesMax: 100)
        #expect(outbox.push(1, bytes: 60))
        #expect(!outbox.push(2, bytes: 60))
        #expect(outbox.push(3, bytes: 40))
        #expect(!outbox.push(4, bytes: 0))
        #expect(await outbox.drain() == [1, 3])
    }

    @Test func oneElementAboveTheBoundStillPassesAlone() async {
        let outbox = Outbox<Int>(countMax: 2, bytesMax: 10)
        #expect(outbox.push(1, bytes: 1_000))
        #expect(await outbox.drain() == [1])
    }

    @Test func closingLetsOutWhatIsThereAndEndsIt() async {
        let outbox = Outbox<Int>(countMax: 10, bytesMax: 100)
        outbox.push(1, bytes: 1)
        outbox.close()
        #expect(!outbox.push(2, bytes: 1))
        #expect(await outbox.drain() == [1])
        #expect(await outbox.drain() == nil)
        #expect(outbox.drainNow() == nil)
    }

    /// A stream that breaks must not take the queue with it: the next stream goes on with it.
    @Test func aCancelledDrainLeavesTheQueueOpen() async {
        let outbox = Outbox<Int>(countMax: 10, bytesMax: 100)
        let task = Task { await outbox.drain() }
        task.cancel()
        #expect(await task.value == nil)
        #expect(outbox.push(1, bytes: 1))
        #expect(await outbox.drain() == [1])
    }

    @Test func aWaitingDrainWakesForAPush() async {
        let outbox = Outbox<Int>(countMax: 10, bytesMax: 100)
        async let drained = outbox.drain()
        outbox.push(7, bytes: 1)
        #expect(await drained == [7])
    }
}

@Suite struct AddressTests {
    @Test(arguments: ["localhost:50051", "127.0.0.1:1", "[::1]:65535", "node-1.example:0"])
    func anAddressReadsBackAsItWasWritten(_ text: String) {
        #expect(Address(text)?.description == text)
    }

    @Test(arguments: ["", ":", "localhost", ":50051", "host:", "host:65536", "host:-1", "a b:1", "host:x"])
    func whatIsNoAddressIsRefused(_ text: String) { #expect(Address(text) == nil) }

    @Test func localhostIsTheLoopbackAddressThatServersBindTo() {
        #expect(Address("localhost:1")?.numericHost == "127.0.0.1")
        #expect(Address("localhost:1")?.isLoopback == true)
        #expect(Address("10.0.0.1:1")?.isLoopback == false)
        #expect(Address("300.0.0.1:1") == nil)
    }
}
