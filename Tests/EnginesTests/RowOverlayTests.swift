#if LMDB || SQLite
    import EngineFaults
    import Testing

    import Engines

    /// Rows that wait, against a dictionary.
    @Suite struct RowOverlayTests {
        /// Keys that begin alike, so far that the numbers of their first bytes matter, and then don't any more.
        private func key(_ random: inout SeededRandom, starts: Int) -> [UInt8] {
            func below(_ bound: UInt64) -> UInt64 { random.next() % bound }
            let start = [UInt8](repeating: 0x6b, count: 20 - Int(below(UInt64(starts))) * 3)
            return start + (0..<below(11)).map { _ in [0, 1, 0x6b, 0xff][Int(below(4))] }
        }

        @Test(arguments: 1...5) func rowsAreFoundInOrder(starts: Int) throws {
            var random = SeededRandom(seed: UInt64(starts))
            var overlay = Overlay()
            var model: [[UInt8]: [UInt8]?] = [:]
            let family = FamilyID(2)
            for round in 0..<400 {
                var batch = WriteBatch()
                batch.mayLag = true
                for _ in 0..<5 {
                    // What comes first begins alike; later ones share ever less with it.
                    let key = key(&random, starts: min(starts, 1 + round / 80))
                    if random.next() % 4 == 0 {
                        batch.delete(family, key: key)
                        model[key] = .some(nil)
                    } else {
                        let value = [UInt8](repeating: UInt8(round & 0xff), count: Int(random.next() % 9))
                        batch.put(family, key: key, value: value)
                        model[key] = .some(value)
                    }
                }
                overlay.add(batch, .buffered)
                if round % 10 == 9 {
                    // What is logged is forgotten here.
                    var log = WriteBatch()
                    for key in model.keys.sorted(by: { $0.lexicographicallyPrecedes($1) }).prefix(3) {
                        log.put(family, key: key, value: [1])
                        model[key] = nil
                    }
                    overlay.add(log, .logged)
                }
                let asked = key(&random, starts: 7)
                let expected: RowOverlay.Found =
                    switch model[asked] {
                    case .none: .absent
                    case .some(nil): .deleted
                    case .some(let value?): .value(value)
                    }
                #expect(overlay.find(family, asked) == expected)
            }
            var found: [([UInt8], [UInt8]?)] = []
            try overlay.forEach { _, key, value in found.append((Array(key), value.map { Array($0) })) }
            #expect(found.map(\.0) == model.keys.sorted { $0.lexicographicallyPrecedes($1) })
            for (key, value) in found { #expect(model[key] == .some(value)) }
        }
    }
#endif
