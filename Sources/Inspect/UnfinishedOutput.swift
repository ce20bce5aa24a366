internal import Dispatch
public import Engines
internal import Glibc
internal import Synchronization

/// The one owner of a directory that a command is making: an archive, a copy, a cluster's directories.
///
/// All of it is made in `.unfinished` below the directory, and put in its place by renaming when it is complete, what makes
/// it valid last. So nothing takes a part for the whole; a failure or a signal leaves what was there before; and what a
/// process leaves that was killed belongs to nobody, and is removed by the next one that makes something there. While one
/// works, the directory is locked.
public final class UnfinishedOutput: Sendable {
    static let name = ".unfinished"

    /// Where it will be.
    public let destination: String
    /// Where it is made.
    public let path: String
    private let work: UnfinishedWork

    /// Begins in a directory that doesn't exist yet, or is empty but for what a process left that was killed.
    public init(_ destination: String) throws(EngineError) {
        try Self.checkIsFree(destination)
        self.destination = destination
        path = "\(destination)/\(Self.name)"
        work = UnfinishedWork(destination: destination, path: path)
        try Interruption.begin(work)
        do throws(EngineError) { try work.begin() } catch {
            work.discard()
            throw error
        }
    }

    deinit { work.discard() }

    /// Something can be made here.
    public static func checkIsFree(_ destination: String) throws(EngineError) {
        let entries = directoryEntries(destination) ?? []
        guard let first = entries.first(where: { $0 != name }) else { return }
        throw .mismatch(
            entries.contains(name)
                ? "\(destination) holds what a process left that was killed while it put it in place (\(first)); "
                    + "remove it, or choose another directory"
                : "\(destination) is not empty (it holds \(first)); choose another directory")
    }

    /// Puts what was made in its place, durably. Its files must be durable already. Nothing of it is left after an error.
    ///
    /// - Parameter last: the file without which the rest is nothing.
    public func publish(last: String? = nil) throws(EngineError) {
        do throws(EngineError) { try work.publish(last: last) } catch {
            work.discard()
            throw error
        }
    }

    /// Removes what was made, if it is not in its place yet.
    public func discard() { work.discard() }
}

/// What has to go if the process ends now. One thread makes it, another may stop it.
private final class UnfinishedWork: Sendable {
    private enum State {
        /// `placed`: names that have been put in place.
        case working(DirectoryLock?, placed: [String])
        /// Its maker doesn't know yet; the lock stays until the process ends, so that nobody begins beside it.
        case stopped(DirectoryLock)
        case ended
    }

    private let destination: String
    private let path: String
    /// The directory was missing, and goes again if nothing comes of it.
    private let isOurs: Bool
    private let state = Mutex(State.working(nil, placed: []))
    /// The maker has noticed that it was stopped.
    private let noticed = DispatchSemaphore(value: 0)

    /// How long the end waits for a maker that is in the middle of something long.
    private static let patience: DispatchTimeInterval = .seconds(5)

    init(destination: String, path: String) {
        self.destination = destination
        self.path = path
        isOurs = !fileExists(destination)
    }

    func begin() throws(EngineError) {
        try state.withLock { (state) throws(EngineError) in
            guard case .working = state else { throw .closed }
            try makeDirectories(destination)
            let lock = try DirectoryLock.making(destination)
            // Now that nobody else works here.
            try UnfinishedOutput.checkIsFree(destination)
            guard lock.isHeld || !fileExists(path) else {
                throw .mismatch(
                    "\(destination) holds something unfinished, and its file system doesn't say whether a process still "
                        + "works on it; remove \(path), or choose another directory")
            }
            state = .working(lock, placed: [])
            clear()
            try makeDirectories(path)
        }
    }

    func publish(last: String?) throws(EngineError) {
        try state.withLock { (state) throws(EngineError) in
            guard case .working(let lock, var placed) = state else { throw .closed }
            let names = (directoryEntries(path) ?? []).filter { $0 != last } + (last.map { [$0] } ?? [])
            for name in names {
                if name == last { try syncDirectory(destination) }
                try InspectFiles.move("\(path)/\(name)", to: "\(destination)/\(name)")
                placed.append(name)
                state = .working(lock, placed: placed)
            }
            try InspectFiles.remove(path)
            try syncDirectory(destination)
            try InspectFiles.syncParent(of: destination)
            state = .ended
            Interruption.end(self, isPublished: true)
        }
    }

    /// By its maker.
    func discard() {
        state.withLock { state in
            switch state {
            case .working(let lock, let placed):
                // Without the lock it is somebody else's.
                if lock != nil { takeAway(placed) }
                state = .ended
                Interruption.end(self, isPublished: false)
            case .stopped:
                state = .ended
                noticed.signal()
            case .ended: break
            }
        }
    }

    /// By somebody else, who then ends the process.
    func stop() {
        let isWaiting = state.withLock { state in
            guard case .working(let lock, let placed) = state else { return false }
            guard let lock else {
                // It has not begun, and won't.
                state = .ended
                return false
            }
            takeAway(placed)
            // A file in its place: the maker would make the directories that it misses, but not these.
            try? makeDirectories(destination, isPassing: true)
            try? writeFile(path, [])
            state = .stopped(lock)
            return true
        }
        guard isWaiting else { return }
        _ = noticed.wait(timeout: .now() + Self.patience)
        takeAway([])
        Interruption.end(self, isPublished: false)
    }

    private func takeAway(_ placed: [String]) {
        for name in placed.reversed() { removeTree("\(destination)/\(name)", itself: true) }
        clear()
        // Others' files stay, and with them the directory.
        if isOurs, directoryEntries(destination)?.isEmpty == true { removeTree(destination, itself: true) }
    }

    private func clear() {
        unlink(path)
        removeTree(path, itself: true)
    }
}

/// What becomes of unfinished outputs when the process is asked to end.
public enum Interruption {
    private struct Outputs {
        var unfinished: [ObjectIdentifier: UnfinishedWork] = [:]
        var hasPublished = false
        var isStopped = false
    }
    private static let outputs = Mutex(Outputs())

    fileprivate static func begin(_ work: UnfinishedWork) throws(EngineError) {
        try outputs.withLock { (outputs) throws(EngineError) in
            if outputs.isStopped { throw .closed }
            outputs.unfinished[ObjectIdentifier(work)] = work
        }
    }

    fileprivate static func end(_ work: UnfinishedWork, isPublished: Bool) {
        outputs.withLock {
            $0.unfinished[ObjectIdentifier(work)] = nil
            if isPublished { $0.hasPublished = true }
        }
    }

    /// Removes what this process is making, from whichever thread, and begins nothing more. Whoever makes it finds it gone;
    /// that is waited for, some seconds at most.
    ///
    /// - Returns: false if something is in its place already. Then the process ends by itself soon, and what it does until
    ///   then (a node that was converted moves) is better not left half-done.
    public static func discardAll() -> Bool {
        let unfinished = outputs.withLock { outputs in
            if !outputs.hasPublished { outputs.isStopped = true }
            return Array(outputs.unfinished.values)
        }
        for work in unfinished { work.stop() }
        return outputs.withLock { !$0.hasPublished }
    }
}
