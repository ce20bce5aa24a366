internal import Foundation

#if LMDB
    internal import CLMDB
#endif
#if SQLite
    internal import CSQLite
#endif

/// Where and how a run was made, for whoever compares it with another.
enum RunEnvironment {
    static func describe(_ plan: BenchPlan) -> [String: String] {
        var facts = [
            "command": (["flotilla bench engines"] + CommandLine.arguments.drop { $0 != "engines" }.dropFirst())
                .joined(separator: " "),
            "cores": "\(ProcessInfo.processInfo.activeProcessorCount)",
            "date": Date().formatted(.iso8601),
            "keys": plan.valueSizes.map { "\(plan.loadedKeys($0)) × \($0) B" }.joined(separator: ", "),
            "rounds": "\(plan.rounds) of \(plan.seconds) s",
        ]
        if let processor = firstValue("/proc/cpuinfo", "model name") { facts["processor"] = processor }
        if let kernel = try? String(contentsOfFile: "/proc/sys/kernel/osrelease", encoding: .utf8) {
            facts["kernel"] = kernel.trimmingCharacters(in: .whitespacesAndNewlines)
        }
        #if LMDB
            facts["lmdb"] = "\(MDB_VERSION_MAJOR).\(MDB_VERSION_MINOR).\(MDB_VERSION_PATCH)"
        #endif
        #if SQLite
            facts["sqlite"] = String(cString: sqlite3_libversion())
        #endif
        return facts
    }

    private static func firstValue(_ path: String, _ label: String) -> String? {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else { return nil }
        let line = text.split(separator: "\n").first { $0.hasPrefix(label) }
        return line?.split(separator: ":", maxSplits: 1).last.map { $0.trimmingCharacters(in: .whitespaces) }
    }
}
