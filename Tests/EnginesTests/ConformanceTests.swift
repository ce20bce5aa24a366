import EngineConformance
import Engines
import Testing

/// Every engine keeps every rule of `EngineConformance`.
@Suite struct ConformanceTests {
    static let engines = EngineKind.allCases.map { EngineConformance($0) }

    @Test(arguments: engines, EngineConformance.checks)
    func theEngineConforms(engine: EngineConformance, check: EngineConformance.Check) throws {
        try engine.run(check)
    }

    @Test(arguments: engines, engines)
    func whatOneEngineExportsAnotherLoads(source: EngineConformance, target: EngineConformance) throws {
        try EngineConformance.checkRoundTrip(from: source, to: target)
    }
}
