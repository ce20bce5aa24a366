import ArgumentParser
import Testing
import flotilla

/// The programs of eRaft's Quick Start, with Go's rules for flags.
@Suite struct SeedProgramTests {
    @Test func serverFlagsBecomeOptions() throws {
        let words = [
            "-id", "0", "-gid=100", "--cluster", "localhost:6001,localhost:6002", "-ctrlers", "localhost:50051", "-db",
            "data/skv",
        ]
        #expect(
            try SeedProgram.groupServer.translate(words) == [
                "group", "serve", "--id=0", "--gid=100", "--cluster=localhost:6001,localhost:6002",
                "--controllers=localhost:50051", "--db=data/skv",
            ])
    }

    @Test func flagsEndAtTheFirstArgument() throws {
        #expect(try SeedProgram.groupClient.translate(["put", "k", "-v"]) == ["kv", "put", "--", "k", "-v"])
        #expect(
            try SeedProgram.groupClient.translate(["-ctrlers", "a:1", "get", "-w"])
                == ["kv", "get", "--endpoints=a:1", "--", "-w"])
        #expect(try SeedProgram.groupClient.translate(["--", "get", "k"]) == ["kv", "get", "--", "k"])
    }

    @Test func benchAndStatusKeepTheirOldForms() throws {
        #expect(try SeedProgram.groupClient.translate(["bench", "1000"]) == ["bench", "count", "--", "1000"])
        #expect(try SeedProgram.groupClient.translate(["status"]) == ["group", "status"])
        #expect(try SeedProgram.controllerClient.translate(["status"]) == ["controller", "status", "--"])
        #expect(
            try SeedProgram.controllerClient.translate(["join", "100=a:1,b:1"])
                == ["controller", "join", "--", "100=a:1,b:1"])
    }

    @Test func theDashboardTakesEraftsFlags() throws {
        #expect(
            try SeedProgram.dashboardServer.translate([
                "-port=8080", "-config-addrs=localhost:50051,localhost:50052", "-update-interval=5s", "-allow-actions",
            ]) == [
                "dashboard", "--port=8080", "--controllers=localhost:50051,localhost:50052", "--update-interval=5s",
                "--allow-actions",
            ])
        #expect(throws: SeedProgram.UsageError.self) {
            try SeedProgram.dashboardServer.translate(["-allow-actions=maybe"])
        }
    }

    @Test func durationsAreGos() {
        for (text, expected): (String, Duration?) in [
            ("5s", .seconds(5)), ("250ms", .milliseconds(250)), ("1m30s", .seconds(90)), ("1.5s", .milliseconds(1500)),
            ("5", nil), ("s", nil), ("", nil), ("5s ", nil), ("-5s", nil), ("5x", nil), ("1e9s", nil),
        ] {
            #expect(GoDuration(argument: text)?.value == expected, "\(text)")
        }
    }

    @Test func helpIsNoError() throws {
        for program in SeedProgram.allCases { #expect(try program.translate(["-h"]) == nil) }
    }

    @Test(arguments: [
        (SeedProgram.groupServer, ["-bogus", "1"], "not defined: -bogus"),
        (.groupServer, ["-id"], "needs an argument: -id"),
        (.controllerServer, ["-id", "0", "extra"], "unexpected argument \"extra\""),
        (.groupClient, ["frobnicate"], "no command \"frobnicate\""),
        (.controllerClient, [], "command is missing"),
    ])
    func mistakesAreNamed(_ program: SeedProgram, _ words: [String], _ sentence: String) {
        do throws(SeedProgram.UsageError) {
            _ = try program.translate(words)
            Issue.record("accepted")
        } catch {
            #expect(error.description.contains(sentence))
        }
    }

    @Test func everyTranslationIsUnderstood() throws {
        for words in [
            ["put", "k", "-v"], ["get", "k"], ["append", "k", " extra"], ["bench", "1000", "16"], ["status"],
        ] {
            let translated = try #require(try SeedProgram.groupClient.translate(words))
            _ = try Flotilla.parseAsRoot(translated)
        }
        for words in [
            ["join", "100=a:1"], ["leave", "100"], ["move", "5", "101"], ["query"], ["query", "3"], ["status"],
        ] {
            let translated = try #require(try SeedProgram.controllerClient.translate(words))
            _ = try Flotilla.parseAsRoot(translated)
        }
    }
}
