internal import Glibc

/// What an engine can answer instead of doing what was asked.
public enum EngineError: Error, Equatable, Sendable, CustomStringConvertible {
    /// The files say something that they can't mean; `place` names the file or structure.
    case corruption(place: String)
    /// The file system (or the engine's map) has no room.
    case noSpace(place: String)
    /// A system call failed.
    case io(place: String, errno: Int32)
    /// Another process holds the directory.
    case locked(path: String, holder: String)
    case familyMissing(FamilyID)
    case tooLarge(what: String, bytes: Int, limit: Int)
    case unsupported(String)
    case closed
    case busy(String)
    /// The directory belongs to something else; the sentence says to what, and what to do.
    case mismatch(String)
    /// An earlier write or sync failed, so nothing after it can be trusted; restart the process.
    case poisoned(String)

    public var description: String {
        switch self {
        case .corruption(let place): "damaged data: \(place)"
        case .noSpace(let place): "no space left: \(place)"
        case .io(let place, let errno):
            switch errno {
            case EACCES, EPERM: "\(place): not permitted; give this user the right to it"
            case EROFS: "\(place): its file system can only be read"
            case EMFILE, ENFILE: "\(place): too many open files; raise the limit (`ulimit -n`)"
            default: "\(place): \(String(cString: strerror(errno))) (I/O error \(errno))"
            }
        case .locked(let path, let holder): "\(path) is in use by \(holder); stop it first"
        case .familyMissing(let family): "\(family) does not exist"
        case .tooLarge(let what, let bytes, let limit): "\(what) has \(bytes) bytes; the limit is \(limit)"
        case .unsupported(let what): "not supported: \(what)"
        case .closed: "the engine is closed"
        case .busy(let what): "busy: \(what)"
        case .mismatch(let sentence): sentence
        case .poisoned(let why): "the engine stopped after a failed write: \(why)"
        }
    }
}
