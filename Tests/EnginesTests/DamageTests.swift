import EngineFaults
import Engines
import Testing

/// Files cut short and bits flipped: what was never written is never returned.
///
/// scripts/durability damages many more copies. docs/engines.md says what each engine can't find out by itself.
@Suite(.serialized) struct DamageTests {
    @Test(arguments: EngineKind.durable) func damageIsNeverReturnedAsData(kind: EngineKind) throws {
        let report = try DamageCampaign(kind, seed: 1).run(flips: 20, cutsPerFile: 2)
        func expectNone(_ verdict: DamageCampaign.Verdict) {
            let cases = report.cases.filter { $0.verdict == verdict }
            #expect(cases.isEmpty, "\(cases.map(\.description).joined(separator: "\n"))")
        }
        expectNone(.wrong)
        expectNone(.hung)
        // LMDB trusts the page numbers and offsets that it finds.
        if kind != .lmdb { expectNone(.crashed) }
        expectNone(.lost)
        #expect(report.count(.right) + report.count(.refused) > report.cases.count / 2, "\(report.summary)")
    }
}
