public import Telemetry

extension DurationHistogram {
    /// Nothing, if it is malformed.
    public init(_ wire: Flotilla_V1_DurationHistogram) {
        self = DurationHistogram(counts: wire.counts, sumNanoseconds: wire.sumNs) ?? DurationHistogram()
    }

    public var wire: Flotilla_V1_DurationHistogram {
        var wire = Flotilla_V1_DurationHistogram()
        wire.counts = counts
        wire.sumNs = sumNanoseconds
        return wire
    }
}
