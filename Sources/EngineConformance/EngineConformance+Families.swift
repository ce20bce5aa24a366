internal import Engines

extension EngineConformance {
    static let familyChecks: [Check] = [
        Check("aNewEngineHasNoFamilies") { bench in
            try bench.withEngine { try expectEqual(try $0.families(), [], "families") }
        },
        Check("familiesAreListedInOrder") { bench in
            try bench.withEngine { engine in
                for number: UInt64 in [300, 2, 1 << 40, 17] { try engine.createFamily(FamilyID(number)) }
                try expectEqual(
                    try engine.families(), [2, 17, 300, 1 << 40].map { FamilyID($0) }, "families")
            }
        },
        Check("creatingAFamilyTwiceKeepsWhatItHolds") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                try engine.put(Families.first, bytes("k"), bytes("v"))
                try engine.createFamily(Families.first)
                try expectEqual(try engine.get(Families.first, bytes("k")), bytes("v"), "value")
                try expectEqual(try engine.families(), [Families.first], "families")
            }
        },
        Check("droppingAMissingFamilyDoesNothing") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                try engine.dropFamily(Families.absent)
                try engine.dropFamily(Families.absent)
                try expectEqual(try engine.families(), [Families.first], "families")
            }
        },
        Check("aDroppedFamilyIsMissingAndItsNeighbourStays") { bench in
            try bench.withEngine { engine in
                for family in [Families.first, Families.second] {
                    try engine.createFamily(family)
                    try engine.put(family, bytes("k"), bytes("v"))
                }
                try engine.dropFamily(Families.first)
                try expectEqual(try engine.families(), [Families.second], "families")
                try expectRefusal("reading a dropped family") {
                    _ = try engine.get(Families.first, bytes("k"))
                } matches: {
                    $0 == .familyMissing(Families.first)
                }
                try expectRefusal("a cursor over a dropped family") {
                    _ = try engine.pairs(Families.first)
                } matches: {
                    $0 == .familyMissing(Families.first)
                }
                try expectRefusal("writing to a dropped family") {
                    try engine.put(Families.first, bytes("k"), bytes("v"))
                } matches: {
                    $0 == .familyMissing(Families.first)
                }
                try expectEqual(try engine.get(Families.second, bytes("k")), bytes("v"), "the neighbour's value")
            }
        },
        Check("aFamilyThatIsMadeAgainIsEmpty") { bench in
            try bench.withEngine { engine in
                try engine.createFamily(Families.first)
                try engine.put(Families.first, bytes("k"), bytes("v"), .synced)
                try engine.put(Families.first, bytes("l"), bytes("v"), .buffered)
                try engine.dropFamily(Families.first)
                try engine.createFamily(Families.first)
                try expectEqual(try engine.pairs(Families.first), [], "pairs of the new family")
                try engine.put(Families.first, bytes("m"), bytes("w"))
                try expectEqual(try engine.get(Families.first, bytes("m")), bytes("w"), "value")
            }
        },
        Check("familiesComeAndGoUnderOpenSnapshots") { bench in
            try bench.withEngine { engine in
                var snapshots: [(snapshot: any ReadSnapshot, family: FamilyID)] = []
                for number: UInt64 in 2..<60 {
                    let family = FamilyID(number)
                    try engine.createFamily(family)
                    try engine.put(family, bytes("k"), bytes("\(number)"), number % 2 == 0 ? .synced : .buffered)
                    snapshots.append((try engine.snapshot(), family))
                    try engine.dropFamily(family)
                    // Some live long, some end at once.
                    if snapshots.count > 7 || number % 3 == 0 { snapshots.removeFirst().snapshot.close() }
                    for open in snapshots {
                        let value = try open.snapshot.get(open.family, key: bytes("k"))
                        try expectEqual(
                            value, bytes("\(open.family.rawValue)"), "\(open.family), dropped before \(family)")
                    }
                }
                for open in snapshots { open.snapshot.close() }
                try expectEqual(try engine.families(), [], "families")
            }
        },
        Check("sixtyFourFamiliesDontMix") { bench in
            try bench.withEngine { engine in
                let families = (10..<74).map { FamilyID(UInt64($0)) }
                var batch = WriteBatch()
                for family in families {
                    try engine.createFamily(family)
                    batch.put(family, key: bytes("same"), value: bytes("\(family.rawValue)"))
                }
                try engine.write(batch, durability: .synced)
                for family in families {
                    try expectEqual(
                        try engine.get(family, bytes("same")), bytes("\(family.rawValue)"), "value in \(family)")
                }
            }
        },
    ]
}
