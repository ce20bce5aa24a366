import Admission
import Testing

@Suite struct ConnectionTableTests {
    private func number(_ decision: ConnectionTable.Decision) -> ConnectionTable.Number? {
        switch decision {
        case .admitted(let number), .replaced(let number, _): number
        case .refused: nil
        }
    }

    private func victim(_ decision: ConnectionTable.Decision) -> ConnectionTable.Number? {
        if case .replaced(_, let victim) = decision { victim } else { nil }
    }

    @Test func aNewConnectionTakesThePlaceOfTheOldestThatHasNeverAsked() throws {
        var table = ConnectionTable(countMax: 3, addressMax: 3)
        let first = try #require(number(table.open(from: "a")))
        let second = try #require(number(table.open(from: "b")))
        let third = try #require(number(table.open(from: "c")))
        table.begin(first)
        table.end(first)
        #expect(victim(table.open(from: "d")) == second)
        #expect(victim(table.open(from: "d")) == third)
        #expect(table.count == 3)
    }

    @Test func amongThoseThatHaveAskedTheLongestIdleGoes() throws {
        var table = ConnectionTable(countMax: 2, addressMax: 2)
        let first = try #require(number(table.open(from: "a")))
        let second = try #require(number(table.open(from: "b")))
        for number in [first, second, first] {
            table.begin(number)
            table.end(number)
        }
        #expect(victim(table.open(from: "c")) == second)
    }

    @Test func whatIsInUseStaysAndTheNewOneIsRefused() throws {
        var table = ConnectionTable(countMax: 2, addressMax: 2)
        let first = try #require(number(table.open(from: "a")))
        let second = try #require(number(table.open(from: "b")))
        table.begin(first)
        table.begin(first)
        table.begin(second)
        table.end(first)
        #expect(table.open(from: "c") == .refused)
        table.end(first)
        #expect(victim(table.open(from: "c")) == first)
    }

    @Test func anAddressThatHasItsShareOnlyReplacesItsOwn() throws {
        var table = ConnectionTable(countMax: 4)
        let other = try #require(number(table.open(from: "a")))
        var own: [ConnectionTable.Number] = []
        for _ in 0..<3 { own.append(try #require(number(table.open(from: "b")))) }
        #expect(table.addressMax == 3)
        #expect(victim(table.open(from: "b")) == own[0])
        #expect(table.count(of: "b") == 3)
        table.close(other)
        #expect(table.count(of: "a") == 0)
        #expect(victim(table.open(from: "b")) == own[1])
    }

    @Test func closingTwiceCountsOnce() throws {
        var table = ConnectionTable(countMax: 4, addressMax: 4)
        let first = try #require(number(table.open(from: "a")))
        _ = table.open(from: "a")
        table.close(first)
        table.close(first)
        #expect(table.count == 1)
        #expect(table.count(of: "a") == 1)
    }
}

@Suite struct DescriptorBudgetTests {
    @Test func engineAndReserveComeBeforeClients() {
        for limit in [1_024, 4_096, 65_536] {
            let budget = DescriptorBudget(limit: limit)
            #expect(budget.grpc + budget.http + DescriptorBudget.engineMax + DescriptorBudget.reserve <= limit)
        }
    }

    @Test func aHighLimitIsNotUsedUp() {
        let budget = DescriptorBudget(limit: 1 << 20)
        #expect(budget.grpc == DescriptorBudget.grpcMax)
        #expect(budget.http == DescriptorBudget.httpMax)
    }

    @Test func aLowLimitStillLetsSomebodyIn() {
        for limit in [0, 64, 256, 512] {
            let budget = DescriptorBudget(limit: limit)
            #expect(budget.grpc >= DescriptorBudget.least)
            #expect(budget.http >= DescriptorBudget.least)
            #expect(budget.isTight)
        }
    }

    @Test func theLimitIsRaisedAndNeverLowered() {
        let first = OpenFiles.raise()
        #expect(first > 0)
        #expect(OpenFiles.raise() == first)
    }
}
