import Admission
import Server
import Testing

@Suite struct MemoryAccountTests {
    @Test func whatFindsNoRoomIsRefused() {
        var account = MemoryAccount(bytesMax: 100, holderBytesMax: 60)
        #expect(account.take(60, for: 1) == .granted)
        #expect(account.take(1, for: 1) == .refused)
        #expect(account.take(40, for: 2) == .granted)
        #expect(account.isFull(for: 1) && account.isFull(for: 2))
        account.give(60, from: 1)
        #expect(account.take(60, for: 3) == .granted)
        #expect(account.held == 100)
    }

    /// Those who hold much can't keep out those who hold little.
    @Test func whoHoldsMostIsShownOutForWhoHoldsLess() {
        var account = MemoryAccount(bytesMax: 100, holderBytesMax: 60)
        #expect(account.take(60, for: 1) == .granted)
        #expect(account.take(30, for: 2) == .granted)
        #expect(account.take(20, for: 3) == .instead(of: 1))
        #expect(account.held(by: 3) == 20)
        // It would hold as much itself.
        #expect(account.take(40, for: 3) == .refused)
        account.give(60, from: 1)
        #expect(account.held == 50)
        #expect(account.take(40, for: 3) == .granted)
    }

    /// Until the one who was named has given back, no more is granted than it holds.
    @Test func nobodyIsShownOutForMoreThanItHolds() {
        var account = MemoryAccount(bytesMax: 100, holderBytesMax: 60)
        #expect(account.take(60, for: 1) == .granted)
        #expect(account.take(40, for: 2) == .granted)
        var granted = 0
        for holder in UInt64(3)..<20 {
            if account.take(10, for: holder) == .instead(of: 1) { granted += 10 }
        }
        #expect(granted == 60)
        account.give(60, from: 1)
        #expect(account.held == 100)
    }

    /// A few who took everything don't make everybody else hear «busy», and those others don't take more than the reserve.
    @Test func whoHoldsNextToNothingIsAnsweredBeyondTheBudget() {
        var account = MemoryAccount(bytesMax: 1_000, holderBytesMax: 600)
        account.charge(600, for: 1)
        account.charge(500, for: 2)
        #expect(account.isFull(for: 1) && account.isFull(for: 2))
        for holder in UInt64(3)..<1_000 {
            while !account.isFull(for: holder) {
                account.charge(10, for: holder)
                // The room for a request is that for its answer.
                if account.held < 1_200 { #expect(account.take(1, for: holder + 2_000) == .instead(of: 1)) }
                account.give(1, from: holder + 2_000)
            }
        }
        #expect(account.held > 1_100 && account.held <= 1_260)
        account.give(600, from: 1)
        #expect(!account.isFull(for: 3))
    }

    @Test func whatIsThereAlreadyOverdrawsTheAccount() {
        var account = MemoryAccount(bytesMax: 100, holderBytesMax: 100)
        account.charge(150, for: 1)
        #expect(account.isFull(for: 2))
        #expect(account.take(10, for: 1) == .refused)
        account.give(150, from: 1)
        #expect(!account.isFull(for: 1))
        #expect(account.held == 0)
    }

    /// Arbitrary takes, charges and gives: the sum is that of all holders, and never twice what the budget allows.
    @Test func theSumIsAlwaysRight() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<50 {
            var account = MemoryAccount(bytesMax: 1_000, holderBytesMax: 400)
            var held: [(holder: UInt64, bytes: Int)] = []
            for _ in 0..<500 {
                if Bool.random(using: &random) {
                    let row = (UInt64.random(in: 1...5, using: &random), Int.random(in: 1...300, using: &random))
                    switch account.take(row.1, for: row.0) {
                    case .granted: held.append(row)
                    case .instead(of: let most):
                        #expect(most != row.0)
                        held.append(row)
                        for own in held where own.holder == most { account.give(own.bytes, from: most) }
                        held.removeAll { $0.holder == most }
                    case .refused: break
                    }
                } else if let place = held.indices.randomElement(using: &random) {
                    let row = held.remove(at: place)
                    account.give(row.bytes, from: row.holder)
                }
                #expect(account.held == held.reduce(0) { $0 + $1.bytes })
                #expect(account.held <= 1_000)
                for holder in UInt64(1)...5 {
                    #expect(account.held(by: holder) == held.reduce(0) { $0 + ($1.holder == holder ? $1.bytes : 0) })
                    #expect(account.held(by: holder) <= 400)
                }
            }
            while let row = held.popLast() { account.give(row.bytes, from: row.holder) }
            #expect(account.held == 0)
        }
    }

    @Test func aLeaseGivesBackWhenNobodyHasIt() {
        let ledger = MemoryLedger(MemoryAccount(bytesMax: 100, holderBytesMax: 100))
        ledger.charge(80, for: 1)
        do {
            let lease = MemoryLease(of: ledger, holder: 1, bytes: 80)
            #expect(ledger.held == 80)
            withExtendedLifetime(lease) {}
        }
        #expect(ledger.held == 0)
    }
}

@Suite struct MessageLengthsTests {
    private func message(_ bytes: Int) -> [UInt8] {
        [0] + (0..<4).map { UInt8(truncatingIfNeeded: bytes >> (24 - 8 * $0)) } + [UInt8](repeating: 9, count: bytes)
    }

    /// However the bytes are cut, a length is announced with the last byte of its prefix.
    @Test func lengthsAreReadWhereverTheBytesAreCut() {
        let sizes = [0, 1, 300, 70_000, 5, 0]
        let bytes = sizes.flatMap { message($0) }
        for step in [1, 2, 3, 4, 5, 7, 64, 1_000, bytes.count] {
            var lengths = MessageLengths()
            var found: [Int] = []
            for start in stride(from: 0, to: bytes.count, by: step) {
                lengths.read(bytes[start..<min(start + step, bytes.count)]) { found.append($0) }
            }
            #expect(found == sizes)
            #expect(lengths.missing == 0)
        }
    }

    @Test func aMessageThatHasBegunIsMissingTheRest() {
        var lengths = MessageLengths()
        var found: [Int] = []
        lengths.read(message(100).prefix(25)) { found.append($0) }
        #expect(found == [100])
        #expect(lengths.missing == 80)
    }
}
