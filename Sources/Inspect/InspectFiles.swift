internal import Engines
internal import Foundation

/// Files as the offline tools read and write them, with errors that name them.
enum InspectFiles {
    static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    /// Does a path, which need not exist, lead to a place below a directory, or to the directory itself?
    static func isInside(_ path: String, _ directory: String) -> Bool {
        let (inner, outer) = (resolved(path), resolved(directory))
        return inner == outer || inner.hasPrefix(outer + "/")
    }

    /// The path without links, as far as it exists.
    private static func resolved(_ path: String) -> String {
        var url = URL(fileURLWithPath: path).standardizedFileURL
        var missing: [String] = []
        while !exists(url.path), url.path != "/" {
            missing.insert(url.lastPathComponent, at: 0)
            url.deleteLastPathComponent()
        }
        return ([url.resolvingSymlinksInPath().path] + missing).joined(separator: "/")
    }

    /// Names in a directory, in order; `nil` if it can't be read.
    static func entries(_ path: String) -> [String]? {
        (try? FileManager.default.contentsOfDirectory(atPath: path))?.sorted()
    }

    static func makeDirectories(_ path: String) throws(EngineError) {
        do {
            try FileManager.default.createDirectory(
                atPath: path, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        } catch { throw failure("creating \(path)", error) }
    }

    static func read(_ path: String, limit: Int) throws(EngineError) -> [UInt8] {
        do {
            let handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path))
            defer { try? handle.close() }
            let data = try handle.read(upToCount: limit + 1) ?? Data()
            guard data.count <= limit else { throw EngineError.tooLarge(what: path, bytes: data.count, limit: limit) }
            return Array(data)
        } catch { throw failure("reading \(path)", error) }
    }

    /// Writes a new file, readable by its owner alone.
    static func write(_ path: String, _ bytes: [UInt8], sync: Bool = false) throws(EngineError) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw last("creating \(path)") }
        defer { close(descriptor) }
        var rest = bytes[...]
        while !rest.isEmpty {
            let wrote = rest.withUnsafeBytes { Foundation.write(descriptor, $0.baseAddress, $0.count) }
            if wrote < 0, errno == EINTR { continue }
            guard wrote >= 0 else { throw last("writing \(path)") }
            rest = rest.dropFirst(wrote)
        }
        if sync, fsync(descriptor) != 0 { throw last("syncing \(path)") }
    }

    /// Makes every file and directory below `path` durable, and `path` itself.
    static func syncTree(_ path: String) throws(EngineError) {
        for name in entries(path) ?? [] {
            let child = "\(path)/\(name)"
            var status = stat()
            guard lstat(child, &status) == 0 else { throw last("reading \(child)") }
            if status.st_mode & S_IFMT == S_IFDIR { try syncTree(child) } else { try sync(child) }
        }
        try sync(path)
    }

    /// Makes the directory's own name durable.
    static func syncParent(of path: String) throws(EngineError) {
        try sync(URL(fileURLWithPath: path).standardizedFileURL.deletingLastPathComponent().path)
    }

    static func move(_ path: String, to other: String) throws(EngineError) {
        guard rename(path, other) == 0 else { throw last("moving \(path) to \(other)") }
    }

    /// Removes a file, or a directory with everything in it.
    static func remove(_ path: String) throws(EngineError) {
        do { try FileManager.default.removeItem(atPath: path) } catch { throw failure("removing \(path)", error) }
    }

    private static func sync(_ path: String) throws(EngineError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw last("opening \(path)") }
        defer { close(descriptor) }
        if fsync(descriptor) != 0 { throw last("syncing \(path)") }
    }

    private static func last(_ place: String) -> EngineError {
        errno == ENOSPC || errno == EDQUOT ? .noSpace(place: place) : .io(place: place, errno: errno)
    }

    private static func failure(_ place: String, _ error: any Error) -> EngineError {
        if let error = error as? EngineError { return error }
        let error = error as NSError
        let posix = (error.userInfo[NSUnderlyingErrorKey] as? NSError)?.code ?? error.code
        return posix == Int(ENOSPC)
            ? .noSpace(place: place) : .io(place: place, errno: Int32(truncatingIfNeeded: posix))
    }
}
