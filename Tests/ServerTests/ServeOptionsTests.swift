import Engines
import Keyspace
import Server
import Testing
import Wire

@Suite struct ServeOptionsTests {
    private var good: ServeOptions {
        ServeOptions(
            id: 0, gid: 100, cluster: ["localhost:6001", "localhost:6002"], controllers: ["localhost:50051"],
            directory: "data/x", engine: .rocksdb)
    }

    @Test func aNodeListensOnItsOwnAddressOfTheCluster() throws {
        var options = good
        options.id = 1
        #expect(try options.validated().description == "localhost:6002")
        options.listen = "0.0.0.0:7000"
        #expect(try options.validated().description == "0.0.0.0:7000")
    }

    /// Every refusal is a usage error and names what is wrong.
    @Test func nonsenseIsRefusedBeforeAnythingIsTouched() {
        let mistakes: [(String, (inout ServeOptions) -> Void)] = [
            ("-id 2", { $0.id = 2 }),
            ("-cluster", { $0.cluster = [] }),
            ("twice", { $0.cluster = ["localhost:1", "localhost:1"] }),
            ("\"nonsense\"", { $0.cluster = ["nonsense"] }),
            ("-ctrlers", { $0.controllers = [] }),
            ("-db", { $0.directory = "" }),
            ("--shards 0", { $0.shardCount = 0 }),
            ("--memory-budget 127", { $0.memoryBudgetMebibytes = 127 }),
            ("--move-rate 0", { $0.moveRateMebibytes = 0 }),
            ("--listen", { $0.cluster = ["node.example:1"] }),
        ]
        for (word, change) in mistakes {
            var options = good
            change(&options)
            do throws(ServeError) {
                _ = try options.validated()
                Issue.record("accepted: \(word)")
            } catch {
                #expect(error.exitCode == 64)
                #expect(error.description.contains(word))
            }
        }
    }
}
