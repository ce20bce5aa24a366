internal import Engines
internal import Foundation

/// What the offline tools do with whole directories, with errors that name them.
package enum InspectFiles {
    /// Does a path, which need not exist, lead to a place below a directory, or to the directory itself?
    package static func isInside(_ path: String, _ directory: String) -> Bool {
        let (inner, outer) = (resolved(path), resolved(directory))
        return inner == outer || inner.hasPrefix(outer + "/")
    }

    /// The path without links, as far as it exists.
    private static func resolved(_ path: String) -> String {
        var url = URL(fileURLWithPath: path).standardizedFileURL
        var missing: [String] = []
        while !fileExists(url.path), url.path != "/" {
            missing.insert(url.lastPathComponent, at: 0)
            url.deleteLastPathComponent()
        }
        return ([url.resolvingSymlinksInPath().path] + missing).joined(separator: "/")
    }

    /// Makes every file and directory below `path` durable, and `path` itself.
    static func syncTree(_ path: String) throws(EngineError) {
        for name in directoryEntries(path) ?? [] {
            let child = "\(path)/\(name)"
            var status = stat()
            guard lstat(child, &status) == 0 else { throw ioError("reading \(child)") }
            if status.st_mode & S_IFMT == S_IFDIR { try syncTree(child) } else { try syncFile(child) }
        }
        try syncDirectory(path)
    }

    /// Makes the directory's own name durable.
    static func syncParent(of path: String) throws(EngineError) {
        try syncDirectory(URL(fileURLWithPath: path).standardizedFileURL.deletingLastPathComponent().path)
    }

    static func move(_ path: String, to other: String) throws(EngineError) {
        guard rename(path, other) == 0 else { throw ioError("moving \(path) to \(other)") }
    }

    /// Removes a directory with everything in it.
    static func remove(_ path: String) throws(EngineError) {
        removeTree(path, itself: true)
        if fileExists(path) { throw ioError("removing \(path)") }
    }
}
