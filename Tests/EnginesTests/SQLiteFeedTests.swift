#if SQLite
    import Testing

    import Engines

    @Suite struct SQLiteFeedTests {
        private static let family = FamilyID(7)

        private final class Rows: SQLiteRowSource {
            private let rows: [(key: [UInt8], value: [UInt8])]
            private let failure: EngineError?
            private var at = 0
            /// Where the row lies until the next one is asked for.
            private var held = UnsafeMutableRawBufferPointer.allocate(byteCount: 1, alignment: 1)

            init(_ rows: [(key: [UInt8], value: [UInt8])], then failure: EngineError? = nil) {
                self.rows = rows
                self.failure = failure
            }

            deinit { held.deallocate() }

            func next() throws(EngineError) -> SQLiteRow? {
                guard at < rows.count else {
                    if let failure { throw failure }
                    return nil
                }
                let (key, value) = rows[at]
                at += 1
                held.deallocate()
                held = .allocate(byteCount: key.count + value.count, alignment: 1)
                held.copyBytes(from: key + value)
                return SQLiteRow(
                    key: UnsafeRawBufferPointer(rebasing: held[..<key.count]),
                    value: UnsafeRawBufferPointer(rebasing: held[key.count...]))
            }
        }

        private func withTable(_ body: (SQLiteConnection, OpaquePointer) throws -> Void) throws {
            try withTemporaryDirectory { directory in
                let connection = try SQLiteConnection(path: "\(directory)/rows.db", readOnly: false)
                try connection.execute(SQLiteEngine.makingTable(SQLiteEngine.table(Self.family)))
                try body(connection, try connection.statement(.load, Self.family))
            }
        }

        private func count(_ connection: SQLiteConnection) throws -> Int64 {
            try connection.integer("SELECT count(*) FROM \(SQLiteEngine.table(Self.family))")
        }

        @Test func rowsOfAnySizeArriveInOneStatement() throws {
            try withTable { connection, load in
                let rows: [(key: [UInt8], value: [UInt8])] = [
                    ([0], []), ([0, 0], [0]), ([1], [UInt8](repeating: 7, count: 8 << 20)), ([0xff], [1, 2, 3]),
                ]
                try connection.run(load, loading: Rows(rows))
                #expect(try count(connection) == 4)
                let sum = try connection.integer("SELECT sum(length(v)) FROM \(SQLiteEngine.table(Self.family))")
                #expect(sum == 8 << 20 + 4)
                let empty = "SELECT c FROM \(SQLiteEngine.table(Self.family)) WHERE k = x'00' AND v = x''"
                let check = [UInt8]([0]).withUnsafeBytes {
                    RecordCheck.checksum($0, UnsafeRawBufferPointer(start: nil, count: 0))
                }
                #expect(try connection.integer(empty) == Int64(check))
            }
        }

        @Test func aSourceThatFailsUndoesTheStatementAndMayBeFollowedByAnother() throws {
            try withTable { connection, load in
                let rows: [(key: [UInt8], value: [UInt8])] = (1...100).map { ([UInt8($0)], [1]) }
                #expect(throws: EngineError.corruption(place: "row 101")) {
                    try connection.run(load, loading: Rows(rows, then: .corruption(place: "row 101")))
                }
                #expect(try count(connection) == 0)
                try connection.run(load, loading: Rows(rows))
                #expect(try count(connection) == 100)
                try connection.run(load, loading: Rows([]))
                #expect(try count(connection) == 100)
            }
        }
    }
#endif
