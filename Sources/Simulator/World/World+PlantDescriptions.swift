extension World.Plant: PlantedBug {
    public var description: PlantDescription {
        switch self {
        case .answersForgottenEarly:
            PlantDescription(
                "a group forgets answers above the lowest that a client may ask for", "RIFL (SOSP 2015), section 3",
                ["to a write that was answered", " answers appended("])
        case .liveSessionsEvicted:
            PlantDescription(
                "rows of sessions go 1.5 s before the sessions end", "dissertation, section 6.3",
                ["to a write that was answered", " answers appended("])
        case .answersInMemoryOnly:
            PlantDescription(
                "a session's later answers aren't written to the disk", "dissertation, section 6.3",
                ["which another replica has answered", "other contents than were frozen"])
        case .deletesNotRecorded:
            PlantDescription(
                "a delete is executed and not recorded in its session", "dissertation, section 6.3",
                ["to a write that was answered", " answers appended("])
        case .closedSessionsForgotten:
            PlantDescription(
                "a closed session leaves nothing behind", "dissertation, section 6.3",
                ["to a write that was answered", " answers appended("])
        case .unconfirmedReads:
            PlantDescription(
                "a leader answers reads without asking whether it leads", "dissertation, section 6.4",
                ["is not linearizable"])
        case .followerReads:
            PlantDescription(
                "whoever is asked answers reads from what it has", "dissertation, section 6.4",
                ["is not linearizable"])
        case .retriesInNewSession:
            PlantDescription(
                "a client repeats a lost write in a new session", "dissertation, section 6.3",
                ["is executed twice"])
        case .lostTakenForNotSent:
            PlantDescription(
                "a client takes silence for a request that never left", "jetcd 0.8.2",
                ["nothing was done"])
        case .ownCommandsWait:
            PlantDescription(
                "what clients have waiting keeps the group's own commands out, and so a hot shard from being frozen",
                "valkey #4545", ["the hot shard has arrived"])
        case .clusterUnsaid:
            PlantDescription(
                "requests don't say which cluster they mean, and a node of another one listens at an address that was known",
                "the issue of the whole cluster: peers of another cluster at an address",
                ["is not linearizable"])
        case .unknownCalledFailed:
            PlantDescription(
                "a client calls a write failed whose outcome is unknown", "Jepsen: indeterminate operations",
                ["nothing was done"])
        case .activatesUnstaged:
            PlantDescription(
                "one member that has staged a shard is enough, for the leader and for the log",
                "decision 0012; the issue \"Hard to break\"",
                ["voters have staged"])
        case .collectsBeforeActivation:
            PlantDescription(
                "the source is to remove its copy once it is staged", "NATS #7556",
                ["which nobody has activated"])
        case .unfreezesOnTimeout:
            PlantDescription(
                "a source that has waited for long serves again", "redis #15629, valkey #2724",
                ["nobody has rejected its move"])
        case .leavesSessionsBehind:
            PlantDescription(
                "the rows of sessions don't come with a shard", "RIFL (SOSP 2015), section 5",
                ["to a write that was answered", " answers appended("])
        case .adoptsTwice:
            PlantDescription(
                "shards that the map calls blank are adopted again, by the leader and by the log",
                "the issue \"Hard to break\", 4",
                ["which is frozen", "which is served by"])
        case .servesByOldMap:
            PlantDescription(
                "a group answers reads of what its old map gives it", "MIT 6.5840, lab 5B",
                ["is not linearizable"])
        case .reusesEpochs:
            PlantDescription(
                "the epoch of a move is not used up by it", "tikv: region epochs",
                ["is used a second time"])
        case .outlivesHolds:
            PlantDescription(
                "nothing ends a hold but its holder", "ours, of November 2026",
                ["moves are held long after"])
        case .ignoresHolds:
            PlantDescription(
                "moves begin while they are held", "ours, of October 2026",
                ["although moves are held"])
        case .readsFrozen:
            PlantDescription(
                "a frozen shard is read", "MIT 6.5840, lab 5B",
                ["which its log has frozen"])
        case .skipsHashes:
            PlantDescription(
                "nobody looks whether what has arrived is what was frozen", "Jepsen on NATS 2.12.1",
                ["lacks what was frozen"])
        case .snapshotWithoutStaged:
            PlantDescription(
                "a snapshot holds what the log has made, and not what was staged beside it", "decision 0012",
                ["isn't what its writes make", "keeping both", "which another replica has answered", " answers "])
        case .collectsUncompared:
            PlantDescription(
                "the source removes its copy without a look at it", "NATS #7556",
                ["keeping both"],
                defence:
                    "each member of the target reads its copy back and refuses what isn't what was frozen (StageCall.refusal(ofLoaded:)), and damage at rest isn't simulated"
            )
        case .writesWhileFrozen:
            PlantDescription(
                "a frozen shard is written", "MIT 6.5840, lab 5B",
                ["which is frozen"])
        case .abandonsFrozen:
            PlantDescription(
                "a source ends a move alone though it has frozen the shard for it", "decision 0028",
                ["ends the move of"])
        case .servesAfterCollect:
            PlantDescription(
                "a group that has handed a shard over serves it further", "MIT 6.5840, lab 5B",
                ["which is served by"])
        case .activatesHalfLoaded:
            PlantDescription(
                "a shard counts as staged when half of it is loaded", "ClickHouse NuRaft #118",
                ["lacks what was frozen"])
        case .earlierRoundsCount:
            PlantDescription(
                "what a member has answered in an earlier round of copying counts for the last",
                "found by the simulation of a whole cluster, December 2026",
                ["lacks what was frozen"])
        case .deletesNotNoted:
            PlantDescription(
                "rows that go while their shard is being copied are not noted", "Valkey #2724; decision 0027",
                ["other contents than were frozen"])
        case .sessionsNotNoted:
            PlantDescription(
                "the rows of sessions that change while their shard is being copied are not noted", "decision 0027",
                ["other contents than were frozen"])
        case .goesBackForOldTries:
            PlantDescription(
                "what a write from before a new try says of waiting counts for the new one",
                "found by the simulation of a whole cluster, November 2026",
                ["are committed, not applied, and not in memory", "after applied"])
        }
    }
}
