/// Times as text.
public enum Timestamp {
    /// The last millisecond of the year 9999, the last that RFC 3339 can say.
    private static let max: UInt64 = 253_402_300_799_999

    /// RFC 3339 in UTC with milliseconds: `2026-11-28T17:40:00.123Z`. What is later than the year 9999 counts as its
    /// end.
    public static func text(unixMilliseconds: UInt64) -> String {
        let time = min(unixMilliseconds, max)
        let (days, rest) = (Int(time / 86_400_000), Int(time % 86_400_000))
        // Years begin in March, so that the leap day is the last (Howard Hinnant, "chrono-Compatible Low-Level Date
        // Algorithms", civil_from_days).
        let shifted = days + 719_468
        let (era, dayOfEra) = (shifted / 146_097, shifted % 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let monthFromMarch = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * monthFromMarch + 2) / 5 + 1
        let month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9
        let year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)

        var text: [UInt8] = []
        text.reserveCapacity(24)
        append(year, digits: 4, before: "-", to: &text)
        append(month, digits: 2, before: "-", to: &text)
        append(day, digits: 2, before: "T", to: &text)
        append(rest / 3_600_000, digits: 2, before: ":", to: &text)
        append(rest / 60_000 % 60, digits: 2, before: ":", to: &text)
        append(rest / 1000 % 60, digits: 2, before: ".", to: &text)
        append(rest % 1000, digits: 3, before: "Z", to: &text)
        return String(decoding: text, as: UTF8.self)
    }

    private static func append(_ number: Int, digits: Int, before end: Unicode.Scalar, to text: inout [UInt8]) {
        var power = digits == 4 ? 1000 : digits == 3 ? 100 : 10
        while power > 0 {
            text.append(UInt8(ascii: "0") + UInt8(number / power % 10))
            power /= 10
        }
        text.append(UInt8(ascii: end))
    }
}
