/// Where a tool is in what it reads, for progress bars and for whoever watches that it gets on.
///
/// One thread at a time. Reports come at each stage and about once for each MiB.
public final class ReadProgress {
    /// What is being read, in words: "family 7 (shard/3 of group 100)".
    public private(set) var stage = ""
    public private(set) var records: UInt64 = 0
    /// Bytes of keys and values.
    public private(set) var bytes: UInt64 = 0

    private var unreported = 0
    private let report: (ReadProgress) -> Void

    /// Bytes between two reports; each record counts for a few more, so that many small ones are heard of too.
    private static let reportBytes = 1 << 20
    private static let recordBytes = 64

    public init(_ report: @escaping (ReadProgress) -> Void = { _ in }) { self.report = report }

    func enter(_ stage: String) {
        self.stage = stage
        report(self)
    }

    @inline(__always)
    func count(_ bytes: Int) {
        records += 1
        self.bytes += UInt64(bytes)
        unreported += bytes + Self.recordBytes
        if unreported >= Self.reportBytes {
            unreported = 0
            report(self)
        }
    }
}
