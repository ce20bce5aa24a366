extension RaftCore {
    /// Defects that can be put back for the simulator to find: each takes one defence away, here, in the driver or in the
    /// storage. Sections are those of Ongaro's dissertation where they have a dot after a digit above 5, otherwise of the
    /// Raft paper (extended version, 2014).
    package enum Plant: String, CaseIterable, Sendable {
        // MARK: Elections

        /// Whoever asks last gets the vote (section 5.2).
        case votesTwice = "votes-twice"
        /// The vote is granted to a log that is behind (section 5.4.1).
        case voteIgnoresLog = "vote-ignores-log"
        /// The pre-vote is granted to a log that is behind (section 9.6).
        case preVoteIgnoresLog = "pre-vote-ignores-log"
        /// A higher term is adopted and not written (Figure 2, persistent state).
        case termNotPersisted = "term-not-persisted"
        /// A vote for another is given and not written (Figure 2, persistent state).
        case voteNotPersisted = "vote-not-persisted"
        /// A candidate asks for votes before its own term is on disk (Figure 2; hashicorp/raft's early versions).
        case asksBeforeSaving = "asks-before-saving"
        /// A replica that hears from a leader helps to depose it (section 4.2.3).
        case noVoteLease = "no-vote-lease"
        /// A leader that a majority doesn't answer stays in office (section 6.2).
        case noCheckQuorum = "no-check-quorum"
        /// A leader whose disk stands still stays in office (etcd #15247).
        case noStallStepDown = "no-stall-step-down"
        /// A replica whose disk stands still goes on asking for pre-votes, and takes them from those who could win.
        case standingDiskCampaigns = "standing-disk-campaigns"
        /// All followers lose their patience at once (section 5.2).
        case timeoutsNotRandom = "timeouts-not-random"
        /// A hand-over that fails isn't given up (section 3.10; tikv #19922).
        case transferNeverEnds = "transfer-never-ends"

        // MARK: Replication

        /// Entries of earlier terms are committed by counting (section 5.4.2, Figure 8).
        case countsOldTerms = "counts-old-terms"
        /// An acknowledgement of an earlier term counts (section 5.1; openraft cecb5de8).
        case takesStaleAppended = "takes-stale-appended"
        /// An answer to a heartbeat of an earlier term counts (section 6.4; etcd #20418).
        case takesStaleHeartbeatReplies = "takes-stale-heartbeat-replies"
        /// A follower's commit goes to its log's end, not to the last new entry (Figure 2, AppendEntries rule 5).
        case commitsToLogEnd = "commits-to-log-end"
        /// A heartbeat names the leader's commit, whatever the follower's log holds (Figure 2; etcd `bcastHeartbeat`).
        case heartbeatCommitsBlindly = "heartbeat-commits-blindly"
        /// A follower acknowledges its whole log, not what it was sent (Figure 2, matchIndex).
        case acknowledgesWholeLog = "acknowledges-whole-log"
        /// An acknowledgement leaves before the entries are on disk (Figure 2: persistent state before answers).
        case acknowledgesBeforeSaving = "acknowledges-before-saving"
        /// An acknowledgement leaves with the first of several writes that it promises.
        case promisesUnwritten = "promises-unwritten"
        /// An append cuts off what follows it, even if it agrees (Figure 2, AppendEntries rule 3).
        case truncatesWhatAgrees = "truncates-what-agrees"
        /// The late completion of a write vouches for what has replaced it (etcd's append ABA race).
        case staleCompletionVouches = "stale-completion-vouches"
        /// An answered append stays in flight (etcd #10217).
        case inflightNeverCleared = "inflight-never-cleared"
        /// Proposals are taken however much waits (etcd `MaxUncommittedEntriesSize`).
        case noAdmission = "no-admission"
        /// What is committed is applied before it is in this replica's log on disk.
        case appliesUnwritten = "applies-unwritten"

        // MARK: Members

        /// What the log says of committed changes isn't read from it (decision 0022).
        case forgetsCommittedChanges = "forgets-committed-changes"
        /// A change is taken while another is under way (section 4.1).
        case secondChange = "second-change"
        /// A change is taken before the leader's term has begun (the single-server bug of 2015).
        case changeBeforeOpening = "change-before-opening"
        /// Whoever knows of a committed change that it hasn't applied campaigns (etcd #7280).
        case campaignsBeforeApplying = "campaigns-before-applying"
        /// A change is applied and may be lost from the disk.
        case membershipUnsynced = "membership-unsynced"
        /// Members without a vote are counted for commits (section 4.2.1).
        case countsLearners = "counts-learners"
        /// Messages to and from an earlier life count (TigerBeetle #2996).
        case ignoresLives = "ignores-lives"
        /// A change of votes is acknowledged whatever this replica has applied (decision 0026).
        case vouchesWhileBlocked = "vouches-while-blocked"
        /// What a write from before a new try says of waiting counts for the new one.
        case goesBackForOldTries = "goes-back-for-old-tries"
        /// What a member had acknowledged before its disk was lost counts for the new one.
        case keepsProgressOfLostDisk = "keeps-progress-of-lost-disk"

        // MARK: Reads and time

        /// A leader reads at a commit index from before its term (section 6.4, step 1; etcd #7331).
        case readsBeforeOpening = "reads-before-opening"
        /// A read takes answers to a question that was asked before it began (etcd #20418).
        case readsJoinOpenRound = "reads-join-open-round"
        /// A confirmed read is answered from a state that isn't there yet (section 6.4, step 4).
        case readsBeforeApplying = "reads-before-applying"
        /// The leader's own clock is the group's (decision 0023).
        case trustsOwnClock = "trusts-own-clock"
        /// Log time is the last stamp, not the largest.
        case logTimeBackwards = "log-time-backwards"

        // MARK: Snapshots and disks

        /// A snapshot of a later term leaves the own term as it was.
        case snapshotKeepsTerm = "snapshot-keeps-term"
        /// A snapshot replaces what this replica has promised (Figure 2, persistent state).
        case snapshotForgetsVote = "snapshot-forgets-vote"
        /// A snapshot that the log holds takes the entries after it (Figure 13, rule 6).
        case snapshotDropsAcknowledged = "snapshot-drops-acknowledged"
        /// A snapshot leaves the old log's rows on the disk (hashicorp/raft #697).
        case keepsOldLogRows = "keeps-old-log-rows"
        /// The log after a snapshot in transit is compacted (ClickHouse NuRaft #118).
        case compactsDuringSnapshots = "compacts-during-snapshots"
        /// A family is dropped while the disk still maps it.
        case dropsBeforeDurable = "drops-before-durable"
        /// Families that are staged count as orphans when the directory is opened (NATS #7556).
        case sweepsStaged = "sweeps-staged"
    }
}
