public import ArgumentParser
public import Keyspace

// A number on the command line is a group or a shard as it stands; whether the cluster has it is for others to say.
extension GroupID: ExpressibleByArgument {}
extension ShardID: ExpressibleByArgument {}
