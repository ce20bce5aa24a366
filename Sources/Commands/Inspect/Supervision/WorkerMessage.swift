internal import Foundation
internal import Inspect

/// What the process that reads says to the one that watches it: a line of JSON.
struct WorkerMessage: Codable {
    /// What is being read from now on.
    var stage: String?
    /// It gets on.
    var records: UInt64?
    /// It waits for whoever takes its output (true), or no longer (false).
    var isWriting: Bool?
    var finding: VerifyReport.Finding?
    /// The end of a verification.
    var report: VerifyReport?
}
