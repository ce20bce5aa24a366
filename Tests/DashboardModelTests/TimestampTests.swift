import DashboardModel
import Foundation
import Testing

@Suite struct TimestampTests {
    @Test func timesAreRFC3339InUTCWithMilliseconds() {
        #expect(Timestamp.text(unixMilliseconds: 0) == "1970-01-01T00:00:00.000Z")
        #expect(Timestamp.text(unixMilliseconds: 1_764_351_600_123) == "2025-11-28T17:40:00.123Z")
        #expect(Timestamp.text(unixMilliseconds: 951_782_400_000) == "2000-02-29T00:00:00.000Z")
    }

    @Test func theyAreWhatTheCalendarSays() {
        let style = Date.ISO8601FormatStyle(includingFractionalSeconds: true)
        var milliseconds: UInt64 = 7
        while milliseconds < 7_000_000_000_000 {
            let date = Date(timeIntervalSince1970: Double(milliseconds / 1000))
            let whole = Timestamp.text(unixMilliseconds: milliseconds / 1000 * 1000)
            #expect(whole == date.formatted(style))
            milliseconds += 3_654_321_987
        }
    }

    @Test func noTimeIsTooLate() {
        #expect(Timestamp.text(unixMilliseconds: .max) == "9999-12-31T23:59:59.999Z")
    }
}
