internal import Foundation

/// Numbers as people read them.
package enum Numbers {
    /// Three digits at least, no more than one after the point.
    package static func count(_ value: Double) -> String {
        if value < 10 { return String(format: "%.2f", value) }
        return value < 100 ? String(format: "%.1f", value) : grouped(value)
    }

    package static func microseconds(_ value: Double) -> String {
        value < 100 ? String(format: "%.1f", value) : grouped(value)
    }

    static func mebibytes(_ bytes: UInt64) -> String { String(format: "%.1f", Double(bytes) / Double(1 << 20)) }

    package static func percent(_ share: Double) -> String { String(format: "%.1f %%", share * 100) }

    private static func grouped(_ value: Double) -> String {
        let digits = String(Int(value.rounded()))
        var text = ""
        for (place, digit) in digits.enumerated() {
            if place > 0, (digits.count - place) % 3 == 0 { text += "," }
            text.append(digit)
        }
        return text
    }
}
