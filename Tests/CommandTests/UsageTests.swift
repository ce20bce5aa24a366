import ArgumentParser
import Testing
import flotilla

/// What options take. Each of these once ended with a crash, asked the wrong cluster, or was dropped without a word.
@Suite struct UsageTests {
    /// The sentence with which arguments are refused; `nil` if they aren't.
    private func refusal(_ words: String) -> String? {
        do { _ = try Flotilla.parseAsRoot(words.split(separator: " ").map { $0 == "''" ? "" : String($0) }) } catch {
            #expect(Flotilla.exitCode(for: error) == .validationFailure, "\(words)")
            return Flotilla.fullMessage(for: error)
        }
        return nil
    }

    @Test(arguments: ["nan", "inf", "-inf", "1e20", "-1", "0", "86401", "abc", "''"])
    func timesHaveARange(_ time: String) throws {
        for words in ["kv get k --timeout=", "snapshot keys dir --timeout=", "bench cluster --seconds="] {
            let sentence = try #require(refusal(words + (time == "''" ? "" : time)))
            #expect(sentence.contains("0.1 to 86400"), "\(sentence)")
        }
    }

    @Test(arguments: [
        ("bench cluster --key-space=0", "1 to 1000000000"), ("bench cluster --count=-1", "1 to 1000000000"),
        ("bench cluster --streams=0", "1 to 256"), ("bench cluster --value-size=0", "1 to 8388608"),
        ("bench cluster --clients=16,,4", "1 to 1024"), ("bench count 0", "1 to 1000000000"),
        ("bench count 1 1025", "1 to 1024"), ("local --base-port=9223372036854775807", "1 to "),
        ("local --base-port=9223372036854775808", "65535"), ("local --base-port=0", "1 to "),
        ("local --base-port=65000 --groups=32", "1 to 62333"), ("local --groups=0", "1 to 32"),
        ("local --retain=18446744073709551615", "0 to 1000000000000"), ("local --dashboard-port=-1", "0 to 65535"),
        ("dashboard --port=65536", "0 to 65535"), ("dashboard --update-interval=1h", "100ms to 1m"),
        ("kv scan --limit=0", "1 to 100000000"), ("kv scan --limit=-5", "1 to 100000000"),
        ("kv scan --limit=9223372036854775807", "1 to 100000000"),
        ("controller serve --id=0 --cluster=a:1 --db=d --shards=0", "1 to 1024"),
        ("controller serve --id=1 --cluster=a:1 --db=d", "0 to 0"),
        ("controller serve --id=0 --cluster=a:1 --db=d --http-port=65536", "0 to 65535"),
        ("backup create --out=o --controllers=a:1 --move-timeout=-1", "0 to 86400"),
        ("backup create --out=o --controllers=a:1 --move-timeout=9223372036854775807", "0 to 86400"),
        ("snapshot diff a b --limit=-1", "0 to 1000000"), ("snapshot keys dir --limit=0", "1 to 1000000000"),
        ("snapshot inspect dir --biggest=1001", "0 to 1000"), ("snapshot keys dir --memory=0", "128 to 1048576"),
        ("snapshot restore --from=a --into=a:1 --prefix=p --rate=nan", "0.1 to 1000000000"),
        ("snapshot restore --from=a --into=a:1 --prefix=p --timeout=nan", "0.1 to 86400"),
    ])
    func numbersHaveARange(_ words: String, _ range: String) throws {
        let sentence = try #require(refusal(words))
        #expect(sentence.contains(range), "\(sentence)")
    }

    @Test(arguments: [
        "kv get k --endpoints=", "kv get k --endpoints=,,", "kv get k --endpoints=nowhere",
        "kv get k --endpoints=localhost:0", "kv get k --endpoints=localhost:65536", "kv get k --endpoints=10.0.0.256:1",
        "kv get k --endpoints=localhost:1,b", "controller query --endpoints=http://a:1",
        "controller join 100=localhost", "controller join 100=", "controller join 0=a:1", "controller join 100",
        "group status --node=a", "group member list --node=a", "group member list", "group member add 3 a --gid=1",
        "group member replace 3 a: --gid=1", "group serve --id=0 --gid=1 --cluster=a --db=d",
        "group serve --id=0 --gid=0 --cluster=a:1 --db=d",
        "group serve --id=0 --gid=1 --cluster=a:1 --db=d --controllers=,",
        "group serve --id=0 --gid=1 --cluster=a:1 --db=d --listen=a", "dashboard --controllers=,",
        "dashboard --listen=name",
        "snapshot save --out=o --endpoint=a", "backup create --out=o --controllers=a",
        "snapshot restore --from=a --into=a --prefix=p", "snapshot restore --from=a --out=o --controllers=a",
        "snapshot restore --from=a --out=o --controllers=a:1 --group=1=a",
    ])
    func addressesAreReadBeforeAnybodyIsAsked(_ words: String) {
        #expect(refusal(words) != nil, "\(words)")
    }

    @Test func whatIsMeantIsTaken() {
        for words in [
            "kv get k --endpoints=a:1,[::1]:2 --timeout=0.5", "kv scan --limit=1 --start=a --end=b --prefix=a",
            "kv scan --start=a --end=a", "local --base-port=10240", "controller join 100=a:1,b:2 101=c:3",
            "group member replace 3 --gid=1", "bench cluster --clients=1,16 --seconds=0.1",
            "snapshot restore --from=a --out=o --controllers=a:1 --group=1=b:1",
        ] {
            #expect(refusal(words) == nil, "\(words)")
        }
    }

    @Test func bounds() {
        #expect(refusal("kv scan --start=b --end=a")?.contains("--start is behind --end") == true)
    }

    @Test func aKeyWithADashIsTakenForAnOption() {
        func hint(_ words: String) -> String? { DashHint.hint(words.split(separator: " ").map(String.init)) }
        #expect(
            hint("kv put k -v")
                == "If -v is a key or a value, put -- before the first of them: flotilla kv put -- KEY VALUE")
        #expect(hint("kv get --endpoints a:1 -k")?.hasSuffix("kv get -- KEY") == true)
        #expect(hint("kv cas k a -b --timeout 5")?.hasPrefix("If -b") == true)
        for words in [
            "kv put -- k -v", "kv put k", "kv put k v --timeout nan", "kv put k v -w xml", "kv put k -",
            "kv get --endpoints=a", "kv scan -x", "controller move -1 100", "kv",
        ] {
            #expect(hint(words) == nil, "\(words)")
        }
    }
}
