/// What `flotilla snapshot verify` found (docs/inspect.md).
public struct VerifyReport: Codable, Sendable, Equatable {
    public enum Verdict: String, Codable, Sendable {
        /// Every byte is what the seal was put on, and the contents agree with themselves.
        case good
        /// It can be read and agrees with itself; but nothing vouches for what isn't there any more.
        case unsealed
        /// Something is missing, changed, or contradicts the rest.
        case damaged
    }

    public struct Finding: Codable, Sendable, Equatable {
        /// The file, family or table.
        public var place: String
        public var problem: String

        public init(place: String, problem: String) {
            self.place = place
            self.problem = problem
        }
    }

    /// Findings that are listed; beyond them they are counted.
    public static let findingsMax = 100

    public var path: String
    public var verdict: Verdict
    public var damage: [Finding] = []
    /// Findings that the list has no room for.
    public var furtherDamage = 0
    /// What is odd and no damage.
    public var warnings: [Finding] = []
    /// Read for it: records, and bytes of keys and values.
    public var records: UInt64 = 0
    public var bytes: UInt64 = 0

    public init(path: String, isSealed: Bool) {
        self.path = path
        verdict = isSealed ? .good : .unsealed
    }

    public mutating func add(damage finding: Finding) {
        verdict = .damaged
        if damage.count < Self.findingsMax { damage.append(finding) } else { furtherDamage += 1 }
    }
}
