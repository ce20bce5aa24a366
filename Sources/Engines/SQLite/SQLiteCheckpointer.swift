#if SQLite
    internal import CSQLite
    internal import Glibc

    /// Moves pages from the log into the file beside the commits, on a thread and a connection of its own.
    ///
    /// SQLite's automatic checkpoint runs inside the commit that crosses its limit, which then waits for the file's
    /// sync. A passive checkpoint holds nobody up, but under steady writing it never catches up, and the log would grow
    /// without end: so once the log is long a short last step runs while writers wait.
    final class SQLiteCheckpointer: @unchecked Sendable {
        /// Pages in the log from which on a checkpoint is worth its sync: 16 MiB.
        private static let framesMin: Int32 = 4096
        /// Pages in the log from which on writers wait for the last step: 64 MiB.
        private static let restartFrames: Int32 = 16_384

        private let connection: SQLiteConnection
        private let guardian: SQLiteConnection
        private let turns: TurnLock
        private let log: SQLiteLog
        private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
        private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
        private var thread = pthread_t()
        private var isWanted = false
        private var isStopped = false
        private var isJoined = false
        private var framesSeen: Int32 = 0
        private var threshold = framesMin

        init(file: String, turns: TurnLock, log: SQLiteLog) throws(EngineError) {
            self.turns = turns
            self.log = log
            guardian = try SQLiteConnection(path: file, readOnly: true)
            connection = try SQLiteConnection(path: file, readOnly: false)
            try connection.execute("PRAGMA wal_autocheckpoint = 0")
            try connection.execute("PRAGMA journal_size_limit = 67108864")
            // Until it has read something, a connection knows of no log, and its checkpoints do nothing, successfully.
            _ = try connection.integer("SELECT count(*) FROM sqlite_schema WHERE rowid = 1")
            // A reader that doesn't let go is not worth waiting for: the next checkpoint comes.
            sqlite3_busy_timeout(connection.raw, 0)
            pthread_mutex_init(mutex, nil)
            pthread_cond_init(condition, nil)
            let code = pthread_create(
                &thread, nil,
                { argument in
                    if let argument {
                        Unmanaged<SQLiteCheckpointer>.fromOpaque(argument).takeRetainedValue().run()
                    }
                    return nil
                }, Unmanaged.passRetained(self).toOpaque())
            guard code == 0 else { throw .io(place: "starting a thread", errno: code) }
        }

        deinit {
            pthread_cond_destroy(condition)
            pthread_mutex_destroy(mutex)
            mutex.deallocate()
            condition.deallocate()
        }

        /// A commit left so many pages in the log.
        func note(frames: Int32) {
            pthread_mutex_lock(mutex)
            if frames < framesSeen { threshold = Self.framesMin }
            framesSeen = frames
            if frames >= threshold {
                threshold = frames + Self.framesMin
                isWanted = true
                pthread_cond_signal(condition)
            }
            pthread_mutex_unlock(mutex)
        }

        /// Waits for the checkpoint that is running, if any.
        func stop() {
            pthread_mutex_lock(mutex)
            isStopped = true
            let joins = !isJoined
            isJoined = true
            pthread_cond_signal(condition)
            pthread_mutex_unlock(mutex)
            if joins { pthread_join(thread, nil) }
        }

        /// Moves all of the log into the file and empties it; true if nobody's reading was in the way. Only after `stop`.
        func finish() -> Bool {
            var frames: Int32 = 0
            var moved: Int32 = 0
            let code = sqlite3_wal_checkpoint_v2(connection.raw, "main", SQLITE_CHECKPOINT_PASSIVE, &frames, &moved)
            guard code == SQLITE_OK, frames == moved else { return false }
            log.willReset()
            return sqlite3_wal_checkpoint_v2(connection.raw, "main", SQLITE_CHECKPOINT_TRUNCATE, &frames, &moved)
                == SQLITE_OK
        }

        private func run() {
            while true {
                pthread_mutex_lock(mutex)
                while !isWanted, !isStopped { pthread_cond_wait(condition, mutex) }
                isWanted = false
                let isStopped = isStopped
                pthread_mutex_unlock(mutex)
                if isStopped { return }
                checkpoint()
            }
        }

        /// What fails here fails again where somebody waits for it: at a commit, when the log can't grow.
        private func checkpoint() {
            // While `guardian` reads, no writer can begin the log anew, so the note of it can be taken back in time.
            guard (try? guardian.beginReading()) != nil else { return guardian.endReading() }
            var frames: Int32 = 0
            var moved: Int32 = 0
            let code = sqlite3_wal_checkpoint_v2(connection.raw, "main", SQLITE_CHECKPOINT_PASSIVE, &frames, &moved)
            let isLong = frames >= Self.restartFrames
            guard code == SQLITE_OK, isLong || moved == frames else { return guardian.endReading() }
            try? turns.withTurn { () throws(EngineError) in
                if isLong {
                    guardian.endReading()
                    // Writers wait: what came meanwhile is moved too, and the next one begins the log anew.
                    let code = sqlite3_wal_checkpoint_v2(
                        connection.raw, "main", SQLITE_CHECKPOINT_PASSIVE, &frames, &moved)
                    guard code == SQLITE_OK, moved == frames else { return }
                    log.willReset()
                    _ = sqlite3_wal_checkpoint_v2(connection.raw, "main", SQLITE_CHECKPOINT_RESTART, &frames, &moved)
                } else {
                    if framesNow == frames { log.willReset() }
                    guardian.endReading()
                }
            }
            guardian.endReading()
        }

        private var framesNow: Int32 {
            pthread_mutex_lock(mutex)
            defer { pthread_mutex_unlock(mutex) }
            return framesSeen
        }
    }
#endif
