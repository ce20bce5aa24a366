// Tests of Sharding.
