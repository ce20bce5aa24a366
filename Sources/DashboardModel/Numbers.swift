/// Sums and differences of what others have counted: whatever they say, nothing overflows.
extension UInt64 {
    func adding(_ other: UInt64) -> UInt64 {
        let (sum, isOver) = addingReportingOverflow(other)
        return isOver ? .max : sum
    }

    /// 0 if the other one is larger.
    func subtracting(_ other: UInt64) -> UInt64 { self > other ? self - other : 0 }

    /// How much a counter has grown; all of it if it has begun anew.
    func since(_ earlier: UInt64) -> UInt64 { self >= earlier ? self - earlier : self }
}

extension Sequence<UInt64> {
    var total: UInt64 { reduce(0) { $0.adding($1) } }
}

extension Double {
    /// To three places: more would only make the JSON longer.
    var rounded3: Double { self < 1e12 ? (self * 1000).rounded() / 1000 : self }
    /// Nanoseconds as milliseconds.
    var milliseconds: Double { (self / 1_000_000).rounded3 }
}

extension String {
    /// Sentences of others are kept and sent again and again; they end somewhere.
    var clipped: String {
        let bytesMax = 500
        guard utf8.count > bytesMax else { return self }
        var end = utf8.index(utf8.startIndex, offsetBy: bytesMax)
        while end > startIndex, end.samePosition(in: unicodeScalars) == nil { end = utf8.index(before: end) }
        return self[..<end] + "…"
    }
}
