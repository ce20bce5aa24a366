internal import Glibc

package func fileExists(_ path: String) -> Bool { access(path, F_OK) == 0 }

/// Names in a directory, without "." and "..", in order; `nil` if it can't be read.
package func directoryEntries(_ path: String) -> [String]? {
    guard let directory = opendir(path) else { return nil }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if name != ".", name != ".." { names.append(name) }
    }
    return names.sorted()
}

/// Bytes that the files of a directory occupy on disk.
func directoryBytes(_ path: String) -> UInt64 {
    var total: UInt64 = 0
    for name in directoryEntries(path) ?? [] {
        var status = stat()
        guard lstat("\(path)/\(name)", &status) == 0 else { continue }
        if status.st_mode & S_IFMT == S_IFDIR {
            total += directoryBytes("\(path)/\(name)")
        } else {
            total += UInt64(status.st_blocks) * 512
        }
    }
    return total
}

/// Makes the entries of a directory durable.
package func syncDirectory(_ path: String) throws(EngineError) {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw ioError("opening \(path)") }
    defer { close(descriptor) }
    if fsync(descriptor) != 0 { throw ioError("syncing \(path)") }
}

/// Removes everything in a directory, and with `itself` the directory too.
package func removeTree(_ path: String, itself: Bool) {
    for name in directoryEntries(path) ?? [] {
        let child = "\(path)/\(name)"
        if unlink(child) != 0 { removeTree(child, itself: true) }
    }
    if itself { rmdir(path) }
}

/// A new, empty directory for what nobody needs after this process.
func makeScratchDirectory() throws(EngineError) -> String {
    let base = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
    var template = Array("\(base)/flotilla-XXXXXX".utf8CString)
    guard mkdtemp(&template) != nil else { throw ioError("creating a directory in \(base)") }
    return template.withUnsafeBytes { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
}

/// Makes a file's contents durable.
package func syncFile(_ path: String) throws(EngineError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw ioError("opening \(path)") }
    defer { close(descriptor) }
    if fsync(descriptor) != 0 { throw ioError("syncing \(path)") }
}

/// Gives a file a second name, or, where that can't be, copies it.
package func linkOrCopy(_ path: String, to copy: String) throws(EngineError) {
    if link(path, copy) == 0 { return }
    let source = open(path, O_RDONLY | O_CLOEXEC)
    guard source >= 0 else { throw ioError("opening \(path)") }
    defer { close(source) }
    let target = open(copy, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600)
    guard target >= 0 else { throw ioError("creating \(copy)") }
    defer { close(target) }
    while true {
        let count = sendfile(target, source, nil, 1 << 30)
        if count < 0, errno == EINTR { continue }
        if count < 0 { throw ioError("copying \(path)") }
        if count == 0 { return }
    }
}

/// A file's length; `nil` if there is no such file.
package func fileBytes(_ path: String) -> UInt64? {
    var status = stat()
    return stat(path, &status) == 0 ? UInt64(status.st_size) : nil
}

/// Bytes that this process may still use on the disk of a path; `nil` if the system doesn't say.
package func diskFreeBytes(_ path: String) -> UInt64? {
    var status = statvfs()
    guard statvfs(path, &status) == 0 else { return nil }
    return UInt64(status.f_bavail) * UInt64(status.f_frsize)
}

/// The file system that a directory is on.
public struct FileSystemSpace: Sendable {
    /// Equal for directories on the same file system of the same machine.
    public var name: String
    public var capacityBytes: UInt64
    /// What this process may still use.
    public var freeBytes: UInt64
}

package func fileSystemSpace(_ path: String) -> FileSystemSpace? {
    var space = statvfs()
    var entry = stat()
    guard statvfs(path, &space) == 0, stat(path, &entry) == 0 else { return nil }
    let boot =
        (try? readFile("/proc/sys/kernel/random/boot_id", limit: 64)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    return FileSystemSpace(
        name: "\(boot.prefix(36))/\(entry.st_dev)", capacityBytes: UInt64(space.f_blocks) * UInt64(space.f_frsize),
        freeBytes: UInt64(space.f_bavail) * UInt64(space.f_frsize))
}

/// Makes a directory, and those above it that are missing, for the owner alone. Durable when it returns, also where an
/// earlier life made it and was killed before it could say so. `isPassing`: for files that no crash need survive.
package func makeDirectories(_ path: String, isPassing: Bool = false) throws(EngineError) {
    var partial = path.hasPrefix("/") ? "/" : ""
    for part in path.split(separator: "/") {
        let parent = partial.isEmpty ? "." : partial
        partial += (partial.isEmpty || partial.hasSuffix("/") ? "" : "/") + part
        let isMade = mkdir(partial, 0o700) == 0
        if !isMade, errno != EEXIST { throw ioError("creating \(partial)") }
        if isPassing { continue }
        do throws(EngineError) { try syncDirectory(parent) } catch {
            // Others' directories above may be closed to this user; they were there before.
            guard !isMade, case .io(_, let number) = error, [EACCES, EPERM, EINVAL, EROFS].contains(number) else {
                throw error
            }
        }
    }
}

/// Reads a whole file of at most `limit` bytes.
package func readFile(_ path: String, limit: Int) throws(EngineError) -> [UInt8] {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw .io(place: "opening \(path)", errno: errno) }
    defer { close(descriptor) }
    var status = stat()
    guard fstat(descriptor, &status) == 0 else { throw .io(place: "reading \(path)", errno: errno) }
    let size = Int(status.st_size)
    guard size <= limit else { throw .tooLarge(what: path, bytes: size, limit: limit) }
    var failure: EngineError?
    let bytes = [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
        while count < size {
            let got = read(descriptor, buffer.baseAddress.map { UnsafeMutableRawPointer($0) + count }, size - count)
            if got < 0, errno == EINTR { continue }
            if got <= 0 {
                failure = got < 0 ? .io(place: "reading \(path)", errno: errno) : .corruption(place: path)
                return
            }
            count += got
        }
    }
    if let failure { throw failure }
    return bytes
}

/// Writes a new file, readable by the owner alone; not synced.
package func writeFile(_ path: String, _ bytes: [UInt8], sync: Bool = false) throws(EngineError) {
    let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw ioError("creating \(path)") }
    defer { close(descriptor) }
    var offset = 0
    var failure: EngineError?
    bytes.withUnsafeBytes { buffer in
        while offset < buffer.count {
            let wrote = Glibc.write(descriptor, buffer.baseAddress.map { $0 + offset }, buffer.count - offset)
            if wrote < 0 {
                if errno == EINTR { continue }
                failure = ioError("writing \(path)")
                return
            }
            offset += wrote
        }
    }
    if let failure { throw failure }
    if sync, fsync(descriptor) != 0 { throw ioError("syncing \(path)") }
}

/// The error of the last system call.
package func ioError(_ place: String) -> EngineError {
    errno == ENOSPC || errno == EDQUOT ? .noSpace(place: place) : .io(place: place, errno: errno)
}
