internal import Foundation

/// Places where a test can hold a process, so that it can be killed exactly there.
///
/// FLOTILLA_FAILPOINTS="before-activate=3000" holds whoever reaches that place for 3,000 ms. Unset, a failpoint
/// costs one comparison.
enum Failpoint {
    private static let holds: [String: UInt64] = {
        var holds: [String: UInt64] = [:]
        for part in (ProcessInfo.processInfo.environment["FLOTILLA_FAILPOINTS"] ?? "").split(separator: ",") {
            let words = part.split(separator: "=")
            if words.count == 2, let milliseconds = UInt64(words[1]) { holds[String(words[0])] = milliseconds }
        }
        return holds
    }()

    static func reach(_ name: String) async {
        guard let milliseconds = holds[name] else { return }
        try? await Task.sleep(for: .milliseconds(milliseconds))
    }
}
