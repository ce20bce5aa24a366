#if LMDB
    import CLMDB
    import Foundation
    import Testing

    import Engines

    /// The comparison that replaces LMDB's own must agree with it: a file outlives the program that wrote it.
    @Suite struct LMDBOrderTests {
        /// Keys that differ at each place of the first three words, in the bytes whose order a signed or a swapped
        /// comparison gets wrong, and in length alone.
        private static let keys: [[UInt8]] = {
            let base = (0..<25).map { UInt8($0 * 10) }
            var keys = (1...25).map { Array(base.prefix($0)) }
            for length in [1, 7, 8, 9, 15, 16, 17, 24, 25] {
                for place in 0..<length {
                    for byte: UInt8 in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                        var key = Array(base.prefix(length))
                        key[place] = byte
                        keys.append(key)
                    }
                }
            }
            return keys
        }()

        @Test func theOrderOfKeysIsLMDBsOwn() throws {
            try withTemporaryDirectory { directory in
                var environment: OpaquePointer?
                try #require(mdb_env_create(&environment) == MDB_SUCCESS)
                defer { mdb_env_close(environment) }
                try #require(mdb_env_open(environment, directory, 0, 0o600) == MDB_SUCCESS)
                var transaction: OpaquePointer?
                try #require(mdb_txn_begin(environment, nil, UInt32(MDB_RDONLY), &transaction) == MDB_SUCCESS)
                defer { mdb_txn_abort(transaction) }
                var main: MDB_dbi = 0
                try #require(mdb_dbi_open(transaction, nil, 0, &main) == MDB_SUCCESS)
                for left in Self.keys {
                    for right in Self.keys {
                        let (ours, theirs) = withValues(left, right) {
                            (flotilla_lmdb_compare($0, $1), mdb_cmp(transaction, main, $0, $1))
                        }
                        guard ours.signum() == theirs.signum() else {
                            Issue.record("\(left) against \(right): \(ours), LMDB says \(theirs)")
                            return
                        }
                    }
                }
            }
        }

        private func withValues<Result>(
            _ left: [UInt8], _ right: [UInt8],
            _ body: (UnsafePointer<MDB_val>, UnsafePointer<MDB_val>) -> Result
        ) -> Result {
            left.withUnsafeBytes { left in
                right.withUnsafeBytes { right in
                    withUnsafePointer(to: MDB_val(left)) { left in
                        withUnsafePointer(to: MDB_val(right)) { body(left, $0) }
                    }
                }
            }
        }
    }
#endif
