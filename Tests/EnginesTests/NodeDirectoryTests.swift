import Engines
import Foundation
import Testing

/// A directory that belongs to something else is refused with a sentence, and not changed by a byte.
@Suite struct NodeDirectoryTests {
    static let incarnation = String(repeating: "ab", count: 16)

    @Test func aNewDirectoryIsMadeWithItsParents() throws {
        try withTemporaryDirectory { root in
            let node = try open("\(root)/a/b/node")
            #expect(node.identity.incarnation == Self.incarnation)
            #expect(node.identity.format == DirectoryIdentity.formatNewest)
            #expect(node.identity.clusterId == nil)
            #expect(FileManager.default.fileExists(atPath: node.enginePath))
            #expect(FileManager.default.fileExists(atPath: node.stagingPath))
        }
    }

    @Test(arguments: EngineKind.durable) func anIdentityOutlivesItsProcess(kind: EngineKind) throws {
        try withNode(kind) { path in
            let again = try open(path, kind, incarnation: String(repeating: "cd", count: 16))
            #expect(again.identity.incarnation == Self.incarnation, "a new incarnation was drawn for an old directory")
            #expect(again.identity.clusterId == "cluster-1")
            let engine = try again.openEngine()
            #expect(engine.kind == kind)
            #expect(try engine.families() == [FamilyID(2)])
            try engine.close()
        }
    }

    @Test(arguments: EngineKind.durable) func anotherEngineIsRefused(kind: EngineKind) throws {
        let other = try #require(EngineKind.durable.first { $0 != kind })
        try refuses(kind, saying: ["node 1 of group 7 on \(kind)", "not node 1 of group 7 on \(other)"]) {
            _ = try open($0, other)
        }
    }

    @Test func anotherGroupIsRefused() throws {
        try refuses(.sqlite, saying: ["node 1 of group 7", "node 1 of group 8"]) {
            _ = try open($0, .sqlite, group: 8)
        }
    }

    @Test func anotherNodeIdIsRefused() throws {
        try refuses(.sqlite, saying: ["node 1 of group 7", "node 2 of group 7"]) {
            _ = try open($0, .sqlite, node: 2)
        }
    }

    @Test func anotherRoleIsRefused() throws {
        try refuses(.sqlite, saying: ["node 1 of group 7", "controller node 1"]) {
            _ = try open($0, .sqlite, role: "controller")
        }
    }

    @Test func anotherClusterIsRefused() throws {
        try withNode(.sqlite) { path in
            let node = try open(path, .sqlite)
            let before = try checksums(path)
            let error = #expect(throws: EngineError.self) { try node.record(clusterId: "cluster-2") }
            let sentence = error?.description ?? ""
            #expect(sentence.contains("cluster-1") && sentence.contains("cluster-2"), "\(sentence)")
            #expect(try checksums(path) == before)
            #expect(node.identity.clusterId == "cluster-1")
            try node.record(clusterId: "cluster-1")
        }
    }

    @Test func aNewerFormatIsRefused() throws {
        try refuses(.sqlite, saying: ["format 99", "up to \(DirectoryIdentity.formatNewest)"]) { path in
            _ = try open(path, .sqlite)
        } prepare: { path in
            // A format of the future may say anything else that it likes.
            try write("{\"format\": 99, \"engine\": \"speedb\", \"something\": [1]}", to: "\(path)/FLOTILLA")
        }
    }

    @Test func anOlderFormatIsRefused() throws {
        try refuses(.sqlite, saying: ["format 1", "from \(DirectoryIdentity.formatOldest)", "replace the member"]) {
            path in
            _ = try open(path, .sqlite)
        } prepare: { path in
            try write("{\"format\": 1}", to: "\(path)/FLOTILLA")
        }
    }

    @Test(arguments: ["", "{", "{\"format\": 2}", "[]", "{\"format\": \"1\"}", "\u{1}\u{2}"])
    func aTruncatedIdentityIsRefused(text: String) throws {
        try refuses(.sqlite, saying: ["FLOTILLA", "restore"]) { path in
            _ = try open(path, .sqlite)
        } prepare: { path in
            try write(text, to: "\(path)/FLOTILLA")
        }
    }

    @Test func anIdentityWithoutItsEngineIsRefused() throws {
        try refuses(.sqlite, saying: ["engine/ is missing"]) { path in
            _ = try open(path, .sqlite)
        } prepare: { path in
            try FileManager.default.removeItem(atPath: "\(path)/engine")
        }
    }

    @Test func anEngineWithoutItsIdentityIsRefused() throws {
        try refuses(.sqlite, saying: ["holds engine files but no FLOTILLA file"]) { path in
            _ = try open(path, .sqlite)
        } prepare: { path in
            try FileManager.default.removeItem(atPath: "\(path)/FLOTILLA")
        }
    }

    @Test func aDirectoryWithOtherFilesIsRefused() throws {
        try withTemporaryDirectory { path in
            try write("dear diary", to: "\(path)/diary.txt")
            let before = try checksums(path)
            let error = #expect(throws: EngineError.self) { _ = try open(path) }
            #expect(error?.description.contains("diary.txt") == true)
            #expect(try checksums(path) == before)
        }
    }

    @Test func whatAnInterruptedFirstStartLeavesIsUsed() throws {
        try withTemporaryDirectory { path in
            try FileManager.default.createDirectory(atPath: "\(path)/engine", withIntermediateDirectories: true)
            try write("", to: "\(path)/LOCK")
            try write("{\"form", to: "\(path)/FLOTILLA.new")
            #expect(try open(path).identity.incarnation == Self.incarnation)
        }
    }

    @Test func aDirectoryInUseSaysByWhom() throws {
        try withNode(.sqlite) { path in
            let node = try open(path, .sqlite)
            let before = try checksums(path)
            let error = #expect(throws: EngineError.self) { _ = try open(path, .sqlite) }
            #expect(error == .locked(path: path, holder: "process \(getpid())"))
            #expect(try checksums(path) == before)
            // Whoever is refused must not take the lock away from its holder.
            #expect(throws: EngineError.self) { _ = try open(path, .sqlite) }
            withExtendedLifetime(node) {}
        }
    }

    @Test(arguments: EngineKind.durable, [nil, "", "1\n"])
    func aDirectoryInUseStaysSoWhenItsLockFileIsDeletedOrReplaced(kind: EngineKind, replacement: String?) throws {
        try withNode(kind) { path in
            let node = try open(path, kind)
            let engine = try node.openEngine()
            try FileManager.default.removeItem(atPath: "\(path)/LOCK")
            if let replacement { try write(replacement, to: "\(path)/LOCK") }
            let before = try checksums(path)
            let attempts: [() throws -> Void] = [
                { _ = try open(path, kind) }, { _ = try NodeDirectory.openStopped(path) },
                { _ = try NodeDirectory.lockForReading(path) },
            ]
            for attempt in attempts {
                let error = #expect(throws: EngineError.self) { try attempt() }
                guard case .locked(path, _) = error else {
                    Issue.record("refused as \(String(describing: error))")
                    continue
                }
                #expect(error?.description.contains("\(path) is in use by ") == true)
                #expect(error?.description.hasSuffix("; stop it first") == true)
            }
            #expect(try checksums(path) == before)
            try engine.close()
            withExtendedLifetime(node) {}
        }
    }

    @Test func severalReadADirectoryThatNobodyWorksIn() throws {
        try withNode(.sqlite) { path in
            // As in a copy, in which no process has worked.
            try FileManager.default.removeItem(atPath: "\(path)/LOCK")
            let before = try checksums(path)
            do {
                let readers = [try NodeDirectory.lockForReading(path), try NodeDirectory.lockForReading(path)]
                #expect(throws: EngineError.self) { _ = try open(path, .sqlite) }
                #expect(try checksums(path) == before)
                withExtendedLifetime(readers) {}
            }
            _ = try open(path, .sqlite)
        }
    }

    @Test func theLockEndsWithItsHolder() throws {
        try withNode(.sqlite) { path in
            do { _ = try open(path, .sqlite) }
            _ = try open(path, .sqlite)
        }
    }

    @Test func stagingIsEmptiedAtEveryStart() throws {
        try withNode(.sqlite) { path in
            try FileManager.default.createDirectory(atPath: "\(path)/staging/in-1", withIntermediateDirectories: true)
            try write("half a snapshot", to: "\(path)/staging/in-1/0.chunk")
            let node = try open(path, .sqlite)
            #expect(try FileManager.default.contentsOfDirectory(atPath: node.stagingPath).isEmpty)
        }
    }
}

extension NodeDirectoryTests {
    private func open(
        _ path: String, _ kind: EngineKind = .sqlite, role: String = "group", group: UInt64 = 7, node: UInt64 = 1,
        incarnation: String = Self.incarnation
    ) throws -> NodeDirectory {
        try NodeDirectory.open(
            path, engine: kind, role: role, groupId: group, nodeId: node, incarnation: incarnation)
    }

    /// A directory that a node has used and left.
    private func withNode(_ kind: EngineKind, _ body: (String) throws -> Void) throws {
        try withTemporaryDirectory { root in
            let path = "\(root)/node"
            do {
                let node = try open(path, kind)
                try node.record(clusterId: "cluster-1")
                let engine = try node.openEngine()
                try engine.createFamily(FamilyID(2))
                var batch = WriteBatch()
                batch.put(FamilyID(2), key: [1], value: [2])
                try engine.write(batch, durability: .synced)
                try engine.close()
            }
            try body(path)
        }
    }

    private func refuses(
        _ kind: EngineKind, saying words: [String], _ attempt: (String) throws -> Void,
        prepare: (String) throws -> Void = { _ in }
    ) throws {
        try withNode(kind) { path in
            try prepare(path)
            let before = try checksums(path)
            let error = #expect(throws: EngineError.self) { try attempt(path) }
            let sentence = error?.description ?? ""
            for word in [path] + words { #expect(sentence.contains(word), "\"\(sentence)\" doesn't say \"\(word)\"") }
            #expect(try checksums(path) == before, "files changed")
        }
    }

    private func write(_ text: String, to path: String) throws {
        try Data(text.utf8).write(to: URL(fileURLWithPath: path))
    }

    /// Every file below `path`, with its checksum.
    private func checksums(_ path: String) throws -> [String: UInt32] {
        var found: [String: UInt32] = [:]
        for name in try FileManager.default.subpathsOfDirectory(atPath: path) {
            let file = "\(path)/\(name)"
            var isDirectory: ObjCBool = false
            _ = FileManager.default.fileExists(atPath: file, isDirectory: &isDirectory)
            found[name] = isDirectory.boolValue ? 0 : crc32c(Array(try Data(contentsOf: URL(fileURLWithPath: file))))
        }
        return found
    }
}
