import Server
import Testing

@Suite struct ServeOptionsTests {
    private func options(_ change: (inout ServeOptions) -> Void) -> ServeOptions {
        var options = ServeOptions(
            id: 0, gid: 100, cluster: ["localhost:6001", "localhost:6002"], controllers: ["localhost:50051"],
            directory: "data/x", engine: .rocksdb)
        change(&options)
        return options
    }

    @Test func aNodeListensOnItsOwnAddressOfTheCluster() throws {
        #expect(try options { $0.id = 1 }.validated().description == "localhost:6002")
        #expect(try options { $0.listen = "0.0.0.0:7000" }.validated().description == "0.0.0.0:7000")
    }

    /// Every refusal is a usage error and names what is wrong.
    @Test(arguments: [
        ("-id 2", { (options: inout ServeOptions) in options.id = 2 }),
        ("-cluster", { (options: inout ServeOptions) in options.cluster = [] }),
        ("twice", { (options: inout ServeOptions) in options.cluster = ["localhost:1", "localhost:1"] }),
        ("\"nonsense\"", { (options: inout ServeOptions) in options.cluster = ["nonsense"] }),
        ("-ctrlers", { (options: inout ServeOptions) in options.controllers = [] }),
        ("-db", { (options: inout ServeOptions) in options.directory = "" }),
        ("--shards 0", { (options: inout ServeOptions) in options.shardCount = 0 }),
        ("--listen", { (options: inout ServeOptions) in options.cluster = ["node.example:1"] }),
    ] as [(String, @Sendable (inout ServeOptions) -> Void)])
    func nonsenseIsRefusedBeforeAnythingIsTouched(_ word: String, _ change: @Sendable (inout ServeOptions) -> Void) {
        do {
            _ = try options(change).validated()
            Issue.record("accepted")
        } catch {
            #expect(error.exitCode == 64)
            #expect(error.description.contains(word))
        }
    }
}
