import Engines
import Foundation
import Inspect
import Testing

@Suite struct OfflineCopyTests {
    static let pairs = EngineKind.durable.flatMap { from in
        EngineKind.durable.filter { $0 != from }.map { (from, $0) }
    }

    @Test(arguments: pairs) func aConvertedNodeHasTheSameIdentityAndRows(from: EngineKind, to: EngineKind) throws {
        try withNode(from) { root, path in
            let (identity, copied) = try OfflineCopy.convert(from: path, to: "\(root)/new", engine: to)
            #expect(identity.engine == to && identity.incarnation == incarnation && identity.clusterId == "c1")
            #expect(copied.keys == 301 && copied.families == 2)
            let node = try open("\(root)/new", to)
            let engine = try node.openEngine()
            #expect(try rows(engine) == 300)
            try engine.close()
        }
    }

    @Test func noServerStartsOnADirectoryThatWasConverted() throws {
        try withNode(.rocksdb) { root, path in
            _ = try OfflineCopy.convert(from: path, to: "\(root)/new", engine: .lmdb)
            let error = #expect(throws: EngineError.self) { _ = try open(path, .rocksdb) }
            #expect(error?.description.contains("lives in \(root)/new") == true, "\(String(describing: error))")
        }
    }

    @Test(arguments: EngineKind.durable) func noServerStartsOnACopy(kind: EngineKind) throws {
        try withNode(kind) { root, path in
            _ = try OfflineCopy.checkpoint(from: path, to: "\(root)/copy")
            let error = #expect(throws: EngineError.self) { _ = try open("\(root)/copy", kind) }
            #expect(error?.description.contains("is a copy of node 1 of group 7") == true)
            // Nor on one whose engine was put in the original's place by hand.
            try FileManager.default.removeItem(atPath: "\(path)/engine")
            try FileManager.default.moveItem(atPath: "\(root)/copy/engine", toPath: "\(path)/engine")
            #expect(throws: EngineError.self) { _ = try open(path, kind) }
        }
    }

    @Test(arguments: EngineKind.durable) func aCopyHoldsWhatTheOriginalHolds(kind: EngineKind) throws {
        try withNode(kind) { root, path in
            _ = try OfflineCopy.checkpoint(from: path, to: "\(root)/copy")
            let engine = try kind.open("\(root)/copy/engine", readOnly: true)
            #expect(try rows(engine) == 300)
            try engine.close()
            #expect(try open(path, kind).identity.incarnation == incarnation, "the original runs on")
        }
    }

    @Test func theSameEngineAndAFullDirectoryAreRefused() throws {
        try withNode(.lmdb) { root, path in
            #expect(throws: EngineError.self) {
                _ = try OfflineCopy.convert(from: path, to: "\(root)/new", engine: .lmdb)
            }
            try FileManager.default.createDirectory(atPath: "\(root)/full/x", withIntermediateDirectories: true)
            #expect(throws: EngineError.self) {
                _ = try OfflineCopy.convert(from: path, to: "\(root)/full", engine: .sqlite)
            }
            #expect(try open(path, .lmdb).identity.movedTo == nil)
        }
    }

    @Test func aRunningNodesDirectoryIsRefused() throws {
        try withNode(.sqlite) { root, path in
            let running = try open(path, .sqlite)
            let error = #expect(throws: EngineError.self) {
                _ = try OfflineCopy.convert(from: path, to: "\(root)/new", engine: .lmdb)
            }
            if case .locked? = error {} else { Issue.record("\(String(describing: error))") }
            #expect(running.identity.movedTo == nil)
        }
    }

    private let incarnation = String(repeating: "ab", count: 16)

    private func open(_ path: String, _ kind: EngineKind) throws -> NodeDirectory {
        try NodeDirectory.open(path, engine: kind, role: "group", groupId: 7, nodeId: 1, incarnation: incarnation)
    }

    private func rows(_ engine: any StorageEngine) throws -> Int {
        let view = try engine.snapshot()
        defer { view.close() }
        var count = 0
        try view.scan(FamilyID(5)) { key, value in
            if value.count == 100, value.first == key.last { count += 1 }
            return true
        }
        return count
    }

    private func withNode(_ kind: EngineKind, _ body: (_ root: String, _ path: String) throws -> Void) throws {
        let root = "\(NSTemporaryDirectory())/flotilla-inspect-\(UUID().uuidString)"
        defer { try? FileManager.default.removeItem(atPath: root) }
        do {
            let node = try open("\(root)/node", kind)
            try node.record(clusterId: "c1")
            let engine = try node.openEngine()
            try engine.createFamily(FamilyID(1))
            try engine.createFamily(FamilyID(5))
            var batch = WriteBatch()
            batch.put(FamilyID(1), key: [1], value: [2])
            for number in 0..<300 {
                batch.put(
                    FamilyID(5), key: [UInt8(number / 256), UInt8(number % 256)],
                    value: [UInt8](repeating: UInt8(number % 256), count: 100))
            }
            try engine.write(batch, durability: .synced)
            try engine.close()
        }
        try body(root, "\(root)/node")
    }
}
