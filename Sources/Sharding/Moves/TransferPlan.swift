public import Engines
internal import Keyspace
public import RaftLog

/// How families come from whoever has them onto this disk: whom to ask, which file from where on, when to try again, whom
/// to give up, how fast.
///
/// A value without time or I/O. Every input answers with the steps to carry out, in their order; the shell says when
/// `wakeAt` has come. Of `open` and `read` one is under way at a time; what comes of one that was given up is ignored,
/// by its turn.
///
/// A source is given up when it refuses, when it can't be taken up again for `attemptsMax` tries without a byte, or when
/// neither bytes nor answers to `probe` come from it: a process that is paused keeps its connections and says nothing. What
/// has come from it stays, as far as the next source has the same files.
public struct TransferPlan: Sendable {
    /// A file on this disk: family `family` of the export, in a directory of its own.
    public struct Place: Sendable, Hashable {
        public var family: Int
        public var name: String

        public init(family: Int, name: String) {
            self.family = family
            self.name = name
        }
    }

    /// What is to be read: the rest of a file, from `offset` on.
    public struct Part: Sendable, Equatable {
        public var turn: UInt64
        public var address: String
        public var export: UInt64
        public var place: Place
        /// The file's place in its family's manifest.
        public var file: Int
        public var offset: UInt64
        /// Of the whole file.
        public var bytes: UInt64
    }

    public enum Step: Sendable, Equatable {
        /// Answer with `opened` or `notOpened`.
        case open(turn: UInt64, address: String)
        /// A directory for each family; files that aren't kept go.
        case arrange(families: Int, keeping: Set<Place>)
        /// Report bytes with `received`, and the end with `ended` or `broke`.
        case read(Part)
        /// What is under way is not wanted any more.
        case stop(turn: UInt64)
        /// Does anybody answer there? Answer with `probed`.
        case probe(address: String)
        /// The export may go. Nothing comes of it.
        case close(address: String, export: UInt64)
        /// Everything is here.
        case done(header: [UInt8], [FamilyManifest])
        case failed(String)
    }

    /// What a source has, ready to be read.
    public struct Offer: Sendable, Equatable {
        public var export: UInt64
        public var header: [UInt8]
        public var manifests: [FamilyManifest]

        public init(export: UInt64, header: [UInt8], manifests: [FamilyManifest]) {
            self.export = export
            self.header = header
            self.manifests = manifests
        }
    }

    private enum Phase: Sendable {
        case opening
        case reading(Part)
        /// Until then.
        case resting(Milliseconds, Part)
        case over
    }

    /// How often one file is taken up again without a byte between.
    static let attemptsMax = 20
    private static let rest: Milliseconds = 250
    /// So long without a byte, and the source is asked whether it is there.
    private static let quietMax: Milliseconds = 500
    /// Questions in a row without an answer: one may fall into a node's bad moment.
    private static let missesMax = 2
    /// A source that answers questions and sends nothing for so long is taken up again.
    private static let stallMax: Milliseconds = 15_000
    /// Making the export of a large group takes its time.
    private static let openMax: Milliseconds = 600_000

    private let addresses: [String]
    private let subject: String
    /// Bytes a second; `nil`: as fast as they come.
    private let rate: UInt64?
    private var phase = Phase.over
    /// Of `addresses`, the one that is asked.
    private var source = 0
    private var turn: UInt64 = 0
    /// Who was asked for an export, and hasn't answered, by turn.
    private var openers: [UInt64: String] = [:]
    private var offer: Offer?
    /// Bytes of files that are here.
    private var here: [Place: (file: FamilyManifest.File, bytes: UInt64)] = [:]
    /// Files that exist on this disk, the empty ones too.
    private var made: Set<Place> = []
    private var attempts = 0
    private var isProbing = false
    private var misses = 0
    /// The last sign of life, and the last byte.
    private var heardAt: Milliseconds = 0
    private var byteAt: Milliseconds = 0
    private var freeAt: Milliseconds = 0
    private var failure: String

    /// Bytes of files: how many are here, and how many it will be. 0 of 0 before a source has said.
    public private(set) var copied: UInt64 = 0
    public private(set) var total: UInt64 = 0

    /// - Parameters:
    ///   - addresses: of those who have it, in the order in which they are asked.
    ///   - subject: whose they are, for people.
    ///   - rate: bytes a second.
    public init(from addresses: [String], of subject: String, rate: UInt64? = nil) {
        self.addresses = addresses
        self.subject = subject
        self.rate = rate.map { max(1, $0) }
        failure = "\(subject) has no members"
    }

    /// When `woken` is to be called at the latest.
    public var wakeAt: Milliseconds? {
        switch phase {
        case .over: return nil
        case .resting(let until, _): return until
        case .opening, .reading:
            let limit = byteAt + (offer == nil ? Self.openMax : Self.stallMax)
            return isProbing ? limit : min(limit, heardAt + Self.quietMax)
        }
    }

    /// Whether what comes of this turn is still waited for.
    public func awaits(_ turn: UInt64) -> Bool {
        switch phase {
        case .opening, .reading: turn == self.turn
        case .resting, .over: false
        }
    }

    // MARK: - Inputs

    public mutating func begin(now: Milliseconds) -> [Step] { open(now) }

    /// - Parameter room: bytes that may be used on this disk.
    public mutating func opened(_ offer: Offer, turn: UInt64, room: UInt64, now: Milliseconds) -> [Step] {
        let opener = openers.removeValue(forKey: turn)
        guard case .opening = phase, turn == self.turn else {
            return opener.map { [.close(address: $0, export: offer.export)] } ?? []
        }
        for manifest in offer.manifests {
            // A name that leads elsewhere must not be written to.
            for file in manifest.files where !Self.isSafe(file.name) {
                return [.close(address: address, export: offer.export)]
                    + next("it sent the file name \(file.name.debugDescription)", now)
            }
            guard Set(manifest.files.map(\.name)).count == manifest.files.count else {
                return [.close(address: address, export: offer.export)] + next("it sent one file name twice", now)
            }
        }
        var fitting: [Place: (file: FamilyManifest.File, bytes: UInt64)] = [:]
        var needed: UInt64 = 0
        for (family, manifest) in offer.manifests.enumerated() {
            for file in manifest.files {
                let place = Place(family: family, name: file.name)
                // The same in every respect: what has come of it is its beginning. Its sum is checked when it is loaded.
                if let present = here[place], present.file == file { fitting[place] = present }
                let (sum, overflows) = needed.addingReportingOverflow(file.bytes)
                needed = overflows ? .max : sum
            }
        }
        here = fitting
        made.formIntersection(fitting.keys)
        copied = fitting.values.reduce(0) { $0 + $1.bytes }
        total = needed
        // The files, and what is made of them.
        let (twice, overflows) = needed.multipliedReportingOverflow(by: 2)
        guard !overflows, twice - copied <= room else {
            return [.close(address: address, export: offer.export)]
                + next(
                    "\(needed >> 20) MiB are to come, twice that is needed, and \(room >> 20) MiB are free", now)
        }
        self.offer = offer
        attempts = 0
        hear(now, byte: true)
        return [.arrange(families: offer.manifests.count, keeping: Set(fitting.keys))] + proceed(now)
    }

    /// The source has no export for us.
    public mutating func notOpened(_ reason: String, turn: UInt64, now: Milliseconds) -> [Step] {
        openers[turn] = nil
        guard case .opening = phase, turn == self.turn else { return [] }
        return next(reason, now)
    }

    /// More of a part is on this disk.
    /// - Returns: How long to wait before the next bytes are taken; `nil`: no more of it is wanted, it has ended.
    public mutating func received(_ bytes: UInt64, turn: UInt64, now: Milliseconds) -> Milliseconds? {
        guard case .reading(let part) = phase, turn == self.turn else { return nil }
        here[part.place]?.bytes += bytes
        copied += bytes
        hear(now, byte: true)
        attempts = 0
        guard (here[part.place]?.bytes ?? 0) <= part.bytes else { return nil }
        guard let rate else { return 0 }
        freeAt = max(freeAt, now) + bytes * 1_000 / rate
        return freeAt - now
    }

    /// The source has sent what it has of the file.
    public mutating func ended(turn: UInt64, now: Milliseconds) -> [Step] {
        guard case .reading(let part) = phase, turn == self.turn else { return [] }
        let present = here[part.place]?.bytes ?? 0
        if present > part.bytes {
            forget(part.place)
            return giveUp("it sent more than \(part.bytes) bytes of \(part.place.name)", now)
        }
        return present == part.bytes ? proceed(now) : retry("\(present) of \(part.bytes) bytes of it came", part, now)
    }

    /// The connection broke, or the source refused.
    /// - Parameter isForgotten: the source knows no such export any more.
    public mutating func broke(_ reason: String, isForgotten: Bool, turn: UInt64, now: Milliseconds) -> [Step] {
        guard case .reading(let part) = phase, turn == self.turn else { return [] }
        return isForgotten ? giveUp(reason, now) : retry(reason, part, now)
    }

    public mutating func probed(isAlive: Bool, at address: String, now: Milliseconds) -> [Step] {
        guard isProbing, address == self.address else { return [] }
        isProbing = false
        if isAlive {
            hear(now, byte: false)
            return []
        }
        misses += 1
        guard misses >= Self.missesMax else {
            // Asked again at once, unless bytes have come meanwhile.
            return woken(now: now)
        }
        return giveUp("it doesn't answer", now)
    }

    /// Time has passed.
    public mutating func woken(now: Milliseconds) -> [Step] {
        switch phase {
        case .over: return []
        case .resting(let until, let part): return until <= now ? read(part, now) : []
        case .opening, .reading:
            if byteAt + (offer == nil ? Self.openMax : Self.stallMax) <= now {
                guard case .reading(let part) = phase else { return giveUp("it doesn't begin", now) }
                return [.stop(turn: turn)] + retry("nothing more comes", part, now)
            }
            guard !isProbing, heardAt + Self.quietMax <= now else { return [] }
            isProbing = true
            return [.probe(address: address)]
        }
    }

    /// It is not wanted any more.
    public mutating func cancelled(_ reason: String) -> [Step] {
        if case .over = phase { return [] }
        let steps = leave()
        phase = .over
        return steps + [.failed(reason)]
    }

    // MARK: - Steps

    private var address: String { addresses.indices.contains(source) ? addresses[source] : "" }

    private static func isSafe(_ name: String) -> Bool {
        !name.isEmpty && !name.contains("/") && !name.hasPrefix(".") && !name.utf8.contains(0)
    }

    private mutating func hear(_ now: Milliseconds, byte: Bool) {
        heardAt = now
        misses = 0
        if byte { byteAt = now }
    }

    private mutating func open(_ now: Milliseconds) -> [Step] {
        while source < addresses.count {
            if Address(toCall: address) != nil {
                turn += 1
                phase = .opening
                offer = nil
                isProbing = false
                hear(now, byte: true)
                openers[turn] = address
                return [.open(turn: turn, address: address)]
            }
            failure = "\(address) is not an address"
            source += 1
        }
        phase = .over
        return [.failed(failure)]
    }

    private mutating func proceed(_ now: Milliseconds) -> [Step] {
        guard let offer else { return [] }
        for (family, manifest) in offer.manifests.enumerated() {
            for (number, file) in manifest.files.enumerated() {
                let place = Place(family: family, name: file.name)
                let present = here[place]?.bytes ?? 0
                if here[place] == nil { here[place] = (file, 0) }
                if present < file.bytes || !made.contains(place) {
                    made.insert(place)
                    let part = Part(
                        turn: turn, address: address, export: offer.export, place: place, file: number,
                        offset: present, bytes: file.bytes)
                    attempts = 0
                    return read(part, now)
                }
            }
        }
        phase = .over
        return [.close(address: address, export: offer.export), .done(header: offer.header, offer.manifests)]
    }

    private mutating func read(_ part: Part, _ now: Milliseconds) -> [Step] {
        turn += 1
        var part = part
        part.turn = turn
        part.offset = here[part.place]?.bytes ?? 0
        phase = .reading(part)
        isProbing = false
        hear(now, byte: true)
        return [.read(part)]
    }

    private mutating func retry(_ reason: String, _ part: Part, _ now: Milliseconds) -> [Step] {
        attempts += 1
        guard attempts < Self.attemptsMax else { return giveUp(reason, now) }
        isProbing = false
        phase = .resting(now + Self.rest, part)
        return []
    }

    /// Ends what is under way with this source, and turns to the next.
    private mutating func giveUp(_ reason: String, _ now: Milliseconds) -> [Step] { leave() + next(reason, now) }

    private func leave() -> [Step] {
        var steps: [Step] = []
        switch phase {
        case .opening, .reading: steps.append(.stop(turn: turn))
        case .resting, .over: break
        }
        if let offer { steps.append(.close(address: address, export: offer.export)) }
        return steps
    }

    private mutating func next(_ reason: String, _ now: Milliseconds) -> [Step] {
        failure = "\(subject)'s node at \(address): \(reason)"
        source += 1
        return open(now)
    }

    private mutating func forget(_ place: Place) {
        if let present = here.removeValue(forKey: place) { copied -= min(copied, present.bytes) }
        made.remove(place)
    }
}
