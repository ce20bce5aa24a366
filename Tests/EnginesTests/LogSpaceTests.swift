import Engines
import Foundation
import Testing

/// A log that only closing empties would fill the disk.
@Suite struct LogSpaceTests {
    @Test func aLongLogOfSQLiteIsMovedIntoTheFileWhileItIsOpen() throws {
        try withTemporaryDirectory { directory in
            let engine = try EngineKind.sqlite.open(directory)
            try engine.createFamily(FamilyID(2))
            for number in 0..<24 {
                var batch = WriteBatch()
                batch.put(FamilyID(2), key: [UInt8(number)], value: [UInt8](repeating: 7, count: 1 << 20))
                try engine.write(batch, durability: .synced)
            }
            var bytes = 0
            for _ in 0..<100 where bytes < 8 << 20 {
                usleep(20_000)
                let attributes = try FileManager.default.attributesOfItem(atPath: "\(directory)/engine.db")
                bytes = attributes[.size] as? Int ?? 0
            }
            #expect(bytes >= 8 << 20, "after 24 MiB of writes the file has \(bytes) bytes")
            try engine.close()
        }
    }
}
