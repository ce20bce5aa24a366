internal import RaftLog

extension Simulation {
    /// Known defects that can be put back on purpose, to see that they are found: most of them in Raft itself
    /// (`RaftCore.Plant`), some in what a shell or a disk does.
    public enum Plant: String, CaseIterable, Sendable, Codable {
        // In the shell and under it.

        /// The disk says "done" before anything is synced.
        case acknowledgeBeforeSync = "ack-before-sync"
        /// A wiped disk takes part as if nothing had happened.
        case wipedDiskVotes = "wiped-disk-votes"
        /// Reads are answered without asking whether the replica still leads.
        case unconfirmedReads = "unconfirmed-reads"
        /// What a killed process left in the system's cache counts as durable.
        case openWithoutSync = "open-without-sync"
        /// A sync has failed, and the process goes on as if it hadn't.
        case goesOnAfterFailedSync = "goes-on-after-failed-sync"

        // In Raft: see there.

        case votesTwice = "votes-twice"
        case voteIgnoresLog = "vote-ignores-log"
        case preVoteIgnoresLog = "pre-vote-ignores-log"
        case termNotPersisted = "term-not-persisted"
        case voteNotPersisted = "vote-not-persisted"
        case asksBeforeSaving = "asks-before-saving"
        case noVoteLease = "no-vote-lease"
        case noCheckQuorum = "no-check-quorum"
        case noStallStepDown = "no-stall-step-down"
        case standingDiskCampaigns = "standing-disk-campaigns"
        case timeoutsNotRandom = "timeouts-not-random"
        case transferNeverEnds = "transfer-never-ends"
        case countsOldTerms = "counts-old-terms"
        case takesStaleAppended = "takes-stale-appended"
        case takesStaleHeartbeatReplies = "takes-stale-heartbeat-replies"
        case commitsToLogEnd = "commits-to-log-end"
        case heartbeatCommitsBlindly = "heartbeat-commits-blindly"
        case acknowledgesWholeLog = "acknowledges-whole-log"
        case acknowledgesBeforeSaving = "acknowledges-before-saving"
        case promisesUnwritten = "promises-unwritten"
        case truncatesWhatAgrees = "truncates-what-agrees"
        case staleCompletionVouches = "stale-completion-vouches"
        case inflightNeverCleared = "inflight-never-cleared"
        case noAdmission = "no-admission"
        case appliesUnwritten = "applies-unwritten"
        case forgetsCommittedChanges = "forgets-committed-changes"
        case secondChange = "second-change"
        case changeBeforeOpening = "change-before-opening"
        case campaignsBeforeApplying = "campaigns-before-applying"
        case membershipUnsynced = "membership-unsynced"
        case countsLearners = "counts-learners"
        case ignoresLives = "ignores-lives"
        case vouchesWhileBlocked = "vouches-while-blocked"
        case keepsProgressOfLostDisk = "keeps-progress-of-lost-disk"
        case readsBeforeOpening = "reads-before-opening"
        case readsJoinOpenRound = "reads-join-open-round"
        case readsBeforeApplying = "reads-before-applying"
        case trustsOwnClock = "trusts-own-clock"
        case logTimeBackwards = "log-time-backwards"
        case snapshotKeepsTerm = "snapshot-keeps-term"
        case snapshotForgetsVote = "snapshot-forgets-vote"
        case snapshotDropsAcknowledged = "snapshot-drops-acknowledged"
        case keepsOldLogRows = "keeps-old-log-rows"
        case compactsDuringSnapshots = "compacts-during-snapshots"
        case dropsBeforeDurable = "drops-before-durable"
        case sweepsStaged = "sweeps-staged"

        /// Those that are put into Raft itself.
        var inCore: RaftCore.Plant? { RaftCore.Plant(rawValue: rawValue) }
    }
}
