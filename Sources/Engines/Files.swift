internal import Glibc

func fileExists(_ path: String) -> Bool { access(path, F_OK) == 0 }

/// Names in a directory, without "." and "..", in order; `nil` if it can't be read.
func directoryEntries(_ path: String) -> [String]? {
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
func syncDirectory(_ path: String) throws(EngineError) {
    let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { throw ioError("opening \(path)") }
    defer { close(descriptor) }
    if fsync(descriptor) != 0 { throw ioError("syncing \(path)") }
}

/// Removes everything in a directory, and with `itself` the directory too.
func removeTree(_ path: String, itself: Bool) {
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
func syncFile(_ path: String) throws(EngineError) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw ioError("opening \(path)") }
    defer { close(descriptor) }
    if fsync(descriptor) != 0 { throw ioError("syncing \(path)") }
}

/// Gives a file a second name, or, where that can't be, copies it.
func linkOrCopy(_ path: String, to copy: String) throws(EngineError) {
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
