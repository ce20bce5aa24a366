internal import Engines

/// An engine behind `StorageEngine`, called as the layers above it do.
final class WrappedSubject: Subject {
    private let engine: any StorageEngine

    init(_ engine: any StorageEngine) { self.engine = engine }

    func createFamily(_ family: UInt64) throws { try engine.createFamily(FamilyID(family)) }
    func dropFamily(_ family: UInt64) throws { try engine.dropFamily(FamilyID(family)) }
    func reclaim() throws -> Bool { try engine.reclaim() }

    func writer() -> any SubjectWriter { Writer(engine) }
    func sync() throws { try engine.sync() }
    func compact() throws { try engine.compact() }

    func view() throws -> any SubjectView { View(try engine.snapshot()) }

    func export(_ family: UInt64, to directory: String) throws -> Exported {
        let snapshot = try engine.snapshot()
        defer { snapshot.close() }
        let manifest = try engine.export(
            FamilyID(family), from: snapshot, format: engine.capabilities.formats.first ?? ChunkFormat.portable,
            to: directory)
        return Exported(keys: Int(manifest.keys), manifest: manifest)
    }

    func ingest(_ exported: Exported, from directory: String, into family: UInt64) throws {
        guard let manifest = exported.manifest else { throw BenchError("an export of ours has a manifest") }
        try engine.ingest(manifest, from: directory, into: FamilyID(family))
    }

    func checkpoint(to directory: String) throws { try engine.checkpoint(to: directory) }
    func close() throws { try engine.close() }

    private final class Writer: SubjectWriter {
        private let engine: any StorageEngine
        private var batch = WriteBatch()

        init(_ engine: any StorageEngine) { self.engine = engine }

        func write(_ puts: PutBatch, synced: Bool) throws {
            batch.removeAll()
            batch.mayLag = false
            for (number, put) in puts.puts.enumerated() {
                if number == puts.logged { batch.mayLag = true }
                batch.put(FamilyID(put.family), key: put.key, value: puts.values[put.value])
            }
            try engine.write(batch, durability: synced ? (puts.logged == nil ? .synced : .logged) : .buffered)
        }
    }

    private final class View: SubjectView {
        private let snapshot: any ReadSnapshot

        init(_ snapshot: any ReadSnapshot) { self.snapshot = snapshot }

        func get(_ family: UInt64, _ key: [UInt8]) throws -> Int? {
            try snapshot.get(FamilyID(family), key: key)?.count
        }

        func multiGet(_ family: UInt64, _ keys: [[UInt8]]) throws -> Int {
            var found = 0
            for value in try snapshot.multiGet(FamilyID(family), keys: keys) where value != nil { found += 1 }
            return found
        }

        func scan(_ family: UInt64, from key: [UInt8], count: Int) throws -> Int {
            let cursor = try snapshot.cursor(FamilyID(family), lower: key, upper: nil, reverse: false)
            var looks = Looks()
            for _ in 0..<count {
                let more: Void? = try cursor.next { looks.look($0, $1) }
                if more == nil { break }
            }
            return looks.finish()
        }

        func close() { snapshot.close() }
    }
}
