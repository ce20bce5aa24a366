import EngineFaults
import Engines
import Foundation

/// Opens what may be damaged, reads all of it, writes, and reads again, within limits on memory and processor time.
/// LMDB's map is address space, not data, and doesn't count.
///
/// "right", "refused WHEN: ERROR", "lost WHAT" or "wrong WHAT".
func readDamaged(_ kind: EngineKind, _ directory: String, seed: UInt64) -> String {
    limit(__rlimit_resource_t(RLIMIT_DATA.rawValue), to: 1 << 30)
    limit(__rlimit_resource_t(RLIMIT_CPU.rawValue), to: 20)
    limit(__rlimit_resource_t(RLIMIT_CORE.rawValue), to: 0)
    limit(__rlimit_resource_t(RLIMIT_FSIZE.rawValue), to: 1 << 30)
    let content = KnownContent(seed: seed)
    var stage = "open"
    do {
        let engine = try kind.open(directory)
        stage = "read"
        var finding = try content.read(engine, added: false)
        if finding == .right {
            stage = "write"
            try content.addRows(to: engine)
            stage = "read again"
            finding = try content.read(engine, added: true)
        }
        stage = "close"
        try engine.close()
        switch finding {
        case .right: return "right"
        case .lost(let what): return "lost \(what)"
        case .wrong(let what): return "wrong \(what)"
        }
    } catch { return "refused \(stage): \(oneLine(error))" }
}

private func limit(_ resource: __rlimit_resource_t, to value: UInt) {
    var limits = rlimit(rlim_cur: value, rlim_max: value)
    setrlimit(resource, &limits)
}
