import Engines
import Foundation
import Testing

/// The lines on the front page of the documentation of Engines (scripts/docs compares them).
@Suite struct FrontPageExampleTests {
    @Test(arguments: EngineKind.allCases)
    func whatTheFrontPageShowsRunsOnEveryEngine(kind: EngineKind) throws {
        let directory = "\(NSTemporaryDirectory())/flotilla-front-page-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        var found: [String] = []

        let engine = try kind.open(directory)
        let ships = FamilyID(1)
        let ports = FamilyID(2)
        try engine.createFamily(ships)
        try engine.createFamily(ports)

        var batch = WriteBatch()
        batch.put(ships, key: "argo".utf8, value: "iolkos".utf8)
        batch.put(ports, key: "iolkos".utf8, value: "argo".utf8)
        try engine.write(batch, durability: .synced)  // both or neither, and on disk when it returns

        let view = try engine.snapshot()  // later writes don't show in it
        try view.scan(ships, lower: Array("a".utf8), upper: Array("b".utf8)) { ship, port in
            found.append("\(String(decoding: ship, as: UTF8.self)) in \(String(decoding: port, as: UTF8.self))")
            return true  // go on
        }
        view.close()
        try engine.close()

        #expect(found == ["argo in iolkos"])
    }
}
