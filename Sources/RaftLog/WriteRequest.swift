/// One piece of work for a replica's disk, in the order in which the driver issued it.
public struct WriteRequest: Sendable {
    public struct Command: Sendable {
        public var entry: Entry
        /// Set in the replica that proposed the entry and still owes an answer.
        public var token: UInt64?

        public init(entry: Entry, token: UInt64? = nil) {
            self.entry = entry
            self.token = token
        }
    }

    /// Completions come back with it, in order.
    public var serial: UInt64
    public var hardState: HardState?
    /// Entries to append. If they replace others, `truncatesLog` is set and everything from the first on goes.
    public var entries: [Entry] = []
    public var truncatesLog = false
    /// Committed entries to apply.
    public var commands: [Command] = []
    /// The log up to here is no longer needed.
    public var compactThrough: LogPosition?
    public var install: SnapshotInstall?

    public init(serial: UInt64) { self.serial = serial }

    /// Bytes of entries and commands.
    public var bytes: Int { entries.reduce(0) { $0 + $1.size } + commands.reduce(0) { $0 + $1.entry.size } }

    /// A promise depends on it: it must be on disk before its completion is reported.
    public var needsSync: Bool { hardState != nil || !entries.isEmpty || install != nil }
}

/// What the driver hears of a request that has been written.
public struct WriteCompletion: Sendable {
    public var serial: UInt64
    public var applied: LogPosition?
    public var membership: Membership?
    /// The entry after `applied` can't be applied: this isn't staged here.
    public var waitsFor: String?

    package init(serial: UInt64, applied: LogPosition? = nil, membership: Membership? = nil, waitsFor: String? = nil) {
        self.serial = serial
        self.applied = applied
        self.membership = membership
        self.waitsFor = waitsFor
    }
}
