// Tests of RaftLog.
