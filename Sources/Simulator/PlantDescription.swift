/// What a planted bug is, in words.
public struct PlantDescription: Sendable {
    public let wrong: String
    /// Where it comes from: a section of a paper, an issue of another project.
    public let source: String
    /// What the sentence of a violation says that is found for the bug's own reason; one of these.
    public let reasons: [String]
    /// Why it changes no history: what defends again.
    public let defence: String?

    init(_ wrong: String, _ source: String, _ reasons: [String], defence: String? = nil) {
        self.defence = defence
        self.wrong = wrong
        self.source = source
        self.reasons = reasons
    }

    public func isReason(for violation: String) -> Bool { reasons.contains { violation.isWithin($0) } }
}

extension String {
    /// Whether a part occurs in the text.
    fileprivate func isWithin(_ part: String) -> Bool {
        let (text, part) = (Array(utf8), Array(part.utf8))
        guard part.count <= text.count else { return false }
        return (0...text.count - part.count).contains { text[$0..<$0 + part.count].elementsEqual(part) }
    }
}

/// A bug that can be put back by its name.
public protocol PlantedBug: RawRepresentable<String>, CaseIterable, Sendable {
    var description: PlantDescription { get }
}

extension Simulation.Plant: PlantedBug {
    public var description: PlantDescription {
        switch self {
        case .acknowledgeBeforeSync:
            PlantDescription(
                "the disk says \"done\" before anything is synced",
                "Raft, Figure 2: persistent state; Jepsen on NATS 2.12.1",
                ["was on disk", "may lose", "may take it away", "on the disks of a quorum"])
        case .wipedDiskVotes:
            PlantDescription(
                "a wiped disk takes part as if nothing had happened",
                "dissertation, section 11.7.2; TigerBeetle #2996",
                ["had promised", "on the disks of a quorum", "lacks committed", "voted in term"])
        case .unconfirmedReads:
            PlantDescription(
                "reads are answered without asking whether the replica still leads",
                "dissertation, section 6.4",
                ["answered a read"])
        case .openWithoutSync:
            PlantDescription(
                "what a killed process left in the system's cache counts as durable",
                "the issue \"Hard to break\", 2",
                ["power cut may take it away"])
        case .goesOnAfterFailedSync:
            PlantDescription(
                "a sync has failed, and the process goes on as if it hadn't",
                "PostgreSQL's fsync surprise, 2018; TigerBeetle's protocol-aware recovery",
                ["was on disk", "may lose", "may take it away", "on the disks of a quorum", "promised"])
        case .votesTwice:
            PlantDescription(
                "whoever asks last gets the vote",
                "Raft, section 5.2",
                ["voted in term", "two leaders"])
        case .voteIgnoresLog:
            PlantDescription(
                "votes are granted to a log that is behind",
                "Raft, section 5.4.1",
                ["granted a", "lacks committed"])
        case .preVoteIgnoresLog:
            PlantDescription(
                "pre-votes are granted to a log that is behind",
                "dissertation, section 9.6",
                ["granted a pre-vote"])
        case .termNotPersisted:
            PlantDescription(
                "a higher term is adopted and not written",
                "Raft, Figure 2: persistent state",
                ["before the term was on disk", "had promised"])
        case .voteNotPersisted:
            PlantDescription(
                "a vote for another is given and not written",
                "Raft, Figure 2: persistent state",
                ["before it was on disk", "had promised"])
        case .asksBeforeSaving:
            PlantDescription(
                "a candidate asks for votes before its own term is on disk",
                "Raft, Figure 2: persistent state before messages",
                ["asked for votes in term"])
        case .noVoteLease:
            PlantDescription(
                "who hears from a leader helps to depose it",
                "dissertation, section 4.2.3",
                ["a majority heard its leader", "nothing failed"])
        case .noCheckQuorum:
            PlantDescription(
                "a leader that a majority doesn't answer stays in office",
                "dissertation, section 6.2",
                ["no majority has answered"])
        case .noStallStepDown:
            PlantDescription(
                "a leader whose disk stands still stays in office",
                "etcd #15247",
                ["its disk has stood still"])
        case .standingDiskCampaigns:
            PlantDescription(
                "a replica whose disk stands still goes on asking for pre-votes",
                "ours, of November 2026; found by the trials of this simulation",
                ["asks for votes, and its disk", "no other leader", "nobody has led"])
        case .timeoutsNotRandom:
            PlantDescription(
                "all followers lose their patience at once",
                "Raft, section 5.2",
                ["no other leader", "nobody has led"])
        case .transferNeverEnds:
            PlantDescription(
                "a hand-over that fails isn't given up",
                "dissertation, section 3.10; tikv #19922",
                ["still hands over", "has had no answer"])
        case .countsOldTerms:
            PlantDescription(
                "entries of earlier terms are committed by counting",
                "Raft, section 5.4.2, Figure 8",
                ["could be elected without it", "is committed", "lacks committed"])
        case .takesStaleAppended:
            PlantDescription(
                "an acknowledgement of an earlier term counts",
                "Raft, section 5.1; openraft cecb5de8",
                ["on the disks of a quorum", "has not said so"])
        case .takesStaleHeartbeatReplies:
            PlantDescription(
                "an answer to a heartbeat of an earlier term counts",
                "dissertation, section 6.4; etcd #20418",
                ["answered a read", "has not said so"])
        case .commitsToLogEnd:
            PlantDescription(
                "a follower's commit goes to its log's end, not to the last new entry",
                "Raft, Figure 2: AppendEntries, rule 5",
                ["for committed"])
        case .heartbeatCommitsBlindly:
            PlantDescription(
                "a heartbeat names the leader's commit, whatever the follower's log holds",
                "Raft, Figure 2: AppendEntries, rule 5; etcd bcastHeartbeat",
                ["for committed"])
        case .acknowledgesWholeLog:
            PlantDescription(
                "a follower acknowledges its whole log, not what it was sent",
                "Raft, Figure 2: matchIndex",
                ["on the disks of a quorum", "for committed", "doesn't have"])
        case .acknowledgesBeforeSaving:
            PlantDescription(
                "an acknowledgement leaves before the entries are on disk",
                "Raft, Figure 2: persistent state before answers",
                ["acknowledged entr"])
        case .promisesUnwritten:
            PlantDescription(
                "an acknowledgement leaves with the first of several writes that it promises",
                "ours, of November 2026",
                ["acknowledged entr", "asked for votes", "promised its vote"])
        case .truncatesWhatAgrees:
            PlantDescription(
                "an append cuts off what follows it, even if it agrees",
                "Raft, Figure 2: AppendEntries, rule 3",
                ["on the disks of a quorum", "lacks committed"])
        case .staleCompletionVouches:
            PlantDescription(
                "the late completion of a write vouches for what has replaced it",
                "etcd raft: the append ABA race",
                ["on the disks of a quorum"],
                defence:
                    "only a leader counts its own disk, and its vote for itself was written behind all that was replaced"
            )
        case .inflightNeverCleared:
            PlantDescription(
                "an answered append stays in flight",
                "etcd raft #10217",
                ["in flight that are answered"])
        case .noAdmission:
            PlantDescription(
                "proposals are taken however much waits",
                "etcd raft: MaxUncommittedEntriesSize",
                ["beyond its bound"])
        case .appliesUnwritten:
            PlantDescription(
                "what is committed is applied before it is in the own log",
                "ours, of October 2026",
                ["its log ends with", "its log goes to"])
        case .forgetsCommittedChanges:
            PlantDescription(
                "after a restart a replica campaigns by the members before committed changes",
                "decision 0022; the issue \"Hard to break\", 1",
                ["changes ago", "two leaders", "lacks committed", "for committed", "hasn't applied the change"])
        case .secondChange:
            PlantDescription(
                "a change of members is taken while another is under way",
                "dissertation, section 4.1",
                ["changes ago", "for committed", "on the disks of a quorum"])
        case .changeBeforeOpening:
            PlantDescription(
                "a change of members is taken before the leader's term has begun",
                "Ongaro, raft-dev, July 2015",
                ["changes ago"],
                defence:
                    "a change needs all changes in the own log to be applied (RaftCore.propose), and Leader Completeness brings every committed one into it"
            )
        case .campaignsBeforeApplying:
            PlantDescription(
                "who knows of a committed change and hasn't applied it campaigns",
                "etcd #7280",
                ["changes ago", "hasn't applied the change"])
        case .membershipUnsynced:
            PlantDescription(
                "a change of members is applied and may be lost from the disk",
                "etcd #7280's sibling; decision 0018",
                ["may lose"])
        case .countsLearners:
            PlantDescription(
                "members without a vote are counted for commits",
                "dissertation, section 4.2.1",
                ["on the disks of a quorum"])
        case .ignoresLives:
            PlantDescription(
                "messages to and from an earlier life count",
                "TigerBeetle #2996",
                ["voted in term", "on the disks of a quorum", "lacks committed", "for committed", "has not said so"])
        case .vouchesWhileBlocked:
            PlantDescription(
                "a change of votes is acknowledged whatever this replica has applied",
                "decision 0026; found by the simulation of a whole cluster, November 2026",
                ["lack what was staged"])
        case .keepsProgressOfLostDisk:
            PlantDescription(
                "what a member acknowledged before its disk was lost counts for the new one",
                "TigerBeetle #2996",
                ["on the disks of a quorum", "has not said so"])
        case .readsBeforeOpening:
            PlantDescription(
                "a leader reads at a commit index from before its term",
                "dissertation, section 6.4, step 1; etcd #7331",
                ["answered a read"])
        case .readsJoinOpenRound:
            PlantDescription(
                "a read takes answers to a question that was asked before it began",
                "etcd #20418",
                ["answered a read", "no majority was asked"])
        case .readsBeforeApplying:
            PlantDescription(
                "a confirmed read is answered from a state that isn't there yet",
                "dissertation, section 6.4, step 4",
                ["answered a read"])
        case .trustsOwnClock:
            PlantDescription(
                "the leader's own clock is the group's",
                "decision 0023; the issue \"Hard to break\", 8",
                ["ahead of the time"])
        case .logTimeBackwards:
            PlantDescription(
                "log time is the last stamp, not the largest",
                "decision 0023",
                ["the largest stamp so far"])
        case .snapshotKeepsTerm:
            PlantDescription(
                "a snapshot of a later term leaves the own term as it was",
                "the issue \"Hard to break\", 3",
                ["its log ends with term", "acknowledged", "for committed", "on the disks of a quorum", "after term"])
        case .snapshotForgetsVote:
            PlantDescription(
                "a snapshot replaces what this replica has promised",
                "Raft, Figure 2: persistent state",
                ["before the term was on disk", "had promised", "before it was on disk"])
        case .snapshotDropsAcknowledged:
            PlantDescription(
                "a snapshot that the log holds takes the entries after it",
                "Raft, Figure 13, rule 6",
                ["on the disks of a quorum", "lacks committed", "could be elected"])
        case .keepsOldLogRows:
            PlantDescription(
                "a snapshot leaves the old log's rows on the disk",
                "hashicorp/raft #697",
                ["nobody has written"])
        case .compactsDuringSnapshots:
            PlantDescription(
                "the log after a snapshot in transit is compacted",
                "ClickHouse NuRaft #118",
                ["in a row"])
        case .dropsBeforeDurable:
            PlantDescription(
                "a family is dropped while the disk still maps it",
                "ours, of October 2026",
                ["its disk still maps"])
        case .sweepsStaged:
            PlantDescription(
                "staged families count as orphans when a directory is opened",
                "NATS #7556",
                ["its family gone", "can't write"])
        }
    }
}
