public import Engines
internal import Foundation
internal import RaftLog
internal import Sharding

/// Reads all of a snapshot, backup or directory, and says what in it is damaged or contradicts the rest.
///
/// It goes on after a finding, as far as that leaves something to read. A library that is led astray by damage may end
/// the process: run it in one of its own (`flotilla snapshot verify` does).
public final class StoreVerifier {
    var report: VerifyReport
    let progress: ReadProgress
    private let found: (VerifyReport.Finding) -> Void

    private init(
        _ path: String, isSealed: Bool, _ progress: ReadProgress, _ found: @escaping (VerifyReport.Finding) -> Void
    ) {
        report = VerifyReport(path: path, isSealed: isSealed)
        self.progress = progress
        self.found = found
    }

    /// - Parameter found: hears of each finding at once, in case the process doesn't come to the end.
    ///
    /// Throws only what isn't the data's fault: a running server, no permission, no room for scratch files, a path that
    /// holds no store, a newer format.
    public static func verify(
        _ path: String, _ progress: ReadProgress = ReadProgress(),
        found: @escaping (VerifyReport.Finding) -> Void = { _ in }
    ) throws(EngineError) -> VerifyReport {
        let verifier: StoreVerifier
        do throws(EngineError) {
            let place = try StorePlace(path)
            if case .archive = place.kind {
                verifier = StoreVerifier(place.path, isSealed: true, progress, found)
                try verifier.attempt(place.path) { () throws(EngineError) in try verifier.verifyArchive(place.path) }
            } else {
                verifier = StoreVerifier(place.path, isSealed: false, progress, found)
                try verifier.attempt(place.path) { () throws(EngineError) in try verifier.verifyDirectory(place.path) }
            }
        } catch {
            guard error.isDamage else { throw error }
            var report = VerifyReport(path: path, isSealed: true)
            let finding = VerifyReport.Finding(place: path, problem: error.problem)
            report.add(damage: finding)
            found(finding)
            return report
        }
        verifier.report.records = progress.records
        verifier.report.bytes = progress.bytes
        return verifier.report
    }

    func damage(_ place: String, _ problem: String) {
        let finding = VerifyReport.Finding(place: place, problem: problem)
        report.add(damage: finding)
        found(finding)
    }

    func warn(_ place: String, _ problem: String) {
        guard report.warnings.count < VerifyReport.findingsMax else { return }
        report.warnings.append(.init(place: place, problem: problem))
    }

    /// Runs a part of the work; damage that ends it is a finding, and the rest goes on. False if it was ended.
    @discardableResult
    func attempt(_ place: String, _ body: () throws(EngineError) -> Void) throws(EngineError) -> Bool {
        do throws(EngineError) {
            try body()
            return true
        } catch {
            guard error.isDamage else { throw error }
            damage(place, error.problem)
            return false
        }
    }
}

extension EngineError {
    /// What is thrown because of the data, and not because of who reads it where.
    var isDamage: Bool {
        switch self {
        case .corruption, .familyMissing, .tooLarge, .closed, .poisoned: true
        case .io(_, let errno): ![EACCES, EPERM, EMFILE, ENFILE, ENOMEM, EROFS].contains(errno)
        case .noSpace, .locked, .unsupported, .busy, .mismatch: false
        }
    }

    /// The error as the second half of a finding.
    var problem: String {
        if case .corruption(let place) = self { return place }
        return description
    }
}
