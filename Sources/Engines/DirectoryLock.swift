internal import Foundation

/// Keeps other processes off a node's directory, and every other opening of this one.
///
/// The lock lies on the directory itself and on its file `LOCK`. The file says who holds it, and earlier
/// builds know no other; but it can be deleted, and whoever comes then makes another one and locks that. The directory can't be
/// deleted without the store.
package final class DirectoryLock: Sendable {
    private static let fileName = "LOCK"

    /// Locked; closed with their holder.
    private struct Held: ~Copyable {
        let descriptor: Int32

        deinit {
            // Not by closing alone: a child process that is just being made has the descriptor too.
            flock(descriptor, LOCK_UN)
            close(descriptor)
        }
    }

    /// None where the file system gives no locks on directories (some that are reached over a network).
    private let directory: Held?
    /// None where there is no such file, and nothing may be made.
    private let file: Held?

    private init(_ directory: consuming Held?, _ file: consuming Held?) {
        self.directory = directory
        self.file = file
    }

    /// For whoever changes the directory. Nothing in it changes if somebody else has it.
    static func working(in path: String) throws(EngineError) -> DirectoryLock {
        let directory = try lockDirectory(path, LOCK_EX)
        let file = "\(path)/\(fileName)"
        let descriptor = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw ioError("opening \(file)") }
        let lock = try lockFile(descriptor, LOCK_EX, path)
        let pid = "\(getpid())\n"
        _ = ftruncate(descriptor, 0)
        _ = pwrite(descriptor, pid, pid.utf8.count, 0)
        return DirectoryLock(directory, lock)
    }

    /// For whoever makes something in a directory that is no node's yet.
    package static func making(_ path: String) throws(EngineError) -> DirectoryLock {
        DirectoryLock(try lockDirectory(path, LOCK_EX), nil)
    }

    /// False where the file system gives no locks.
    package var isHeld: Bool { directory != nil || file != nil }

    /// For whoever reads it: several at once, on a disk that can't be written to as well. A directory that no process has
    /// worked in has no file `LOCK`, and gets none.
    static func reading(_ path: String) throws(EngineError) -> DirectoryLock {
        let directory = try lockDirectory(path, LOCK_SH)
        let file = "\(path)/\(fileName)"
        let descriptor = open(file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            guard errno == ENOENT else { throw ioError("opening \(file)") }
            return DirectoryLock(directory, nil)
        }
        return DirectoryLock(directory, try lockFile(descriptor, LOCK_SH, path))
    }

    private static func lockDirectory(_ path: String, _ kind: Int32) throws(EngineError) -> Held? {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw ioError("opening \(path)") }
        guard flock(descriptor, kind | LOCK_NB) != 0 else { return Held(descriptor: descriptor) }
        let isHeld = errno == EWOULDBLOCK
        close(descriptor)
        guard isHeld else { return nil }
        throw .locked(path: path, holder: holder(of: path))
    }

    private static func lockFile(_ descriptor: Int32, _ kind: Int32, _ path: String) throws(EngineError) -> Held {
        guard flock(descriptor, kind | LOCK_NB) != 0 else { return Held(descriptor: descriptor) }
        // Some network file systems give no locks on what is open for reading alone.
        let error: EngineError =
            errno == EWOULDBLOCK
            ? .locked(path: path, holder: holder(of: path)) : ioError("locking \(path)/\(fileName)")
        close(descriptor)
        throw error
    }

    private static func holder(of path: String) -> String {
        guard let bytes = try? readFile("\(path)/\(fileName)", limit: 32) else { return "another process" }
        let text = String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        // A tool that reads holds the lock without its number; the one that is there may be of a process long gone.
        guard let number = pid_t(text), kill(number, 0) == 0 || errno == EPERM else { return "another process" }
        return "process \(number)"
    }
}
