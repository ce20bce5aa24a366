import InspectFixtures
import Testing

/// A sample of what scripts/drills does at length: whatever the damage, `inspect` and `verify` come to an end.
@Suite(.serialized) struct DrillTests {
    @Test(arguments: DamageDrill.Subject.all) func damageIsSurvivedAndFound(subject: DamageDrill.Subject) throws {
        let report = try DamageDrill(subject, seed: 7).run(flips: 10, cutsPerFile: 1)
        #expect(report.failures.isEmpty, "\(report.failures.joined(separator: "\n"))")
        #expect(report.damaged > 0, "\(report.summary)")
    }
}
