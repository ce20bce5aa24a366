"""What once broke, in the smallest way to it (docs/robustness.md)."""

import json
import os
import shutil
import signal
import subprocess
import time

from checks import check
from harness import Cluster, Failure, free_ports, own_mounts, require, wait_for


def refused(what, call):
    import rpc
    try:
        call()
    except rpc.Refused as refusal:
        return str(refusal)
    raise Failure(f"{what} was taken")


@check()
def a_group_that_lost_all_its_disks_serves_nothing_until_it_is_given_up(engine):
    with Cluster(engine, groups=(100,), shards=2).up() as cluster:
        cluster.run("kv", "put", "k", "v")
        for node in cluster.group(100):
            node.kill()
            shutil.rmtree(node.directory)
        for node in cluster.group(100):
            node.start()

        def condition():
            return next((row["condition"] for row in cluster.status(100) if "give-up" in (row.get("condition") or "")), None)
        wait_for("the alarm", condition)
        code, out, err = cluster.cli("kv", "get", "k", "--timeout", "3")
        require(code == 69, f"a group that lost everything answers: exit {code}: {out!r} {err}")
        code, out, err = cluster.cli("kv", "put", "k", "w", "--timeout", "3")
        require(code == 69, f"a group that lost everything takes writes: exit {code}: {out!r} {err}")
        code, _, err = cluster.cli("controller", "give-up", "100")
        require(code == 64 and "--lose-data" in err, f"without the flag: exit {code}: {err}")
        cluster.run("controller", "give-up", "100", "--lose-data")
        wait_for("the empty shards", lambda: cluster.cli("kv", "get", "k", "--timeout", "3")[0] == 2)
        cluster.run("kv", "put", "k", "w")
        require(cluster.get("k") == "w", "the group doesn't serve after it was given up")


@check(["rocksdb"])
def a_stranger_cannot_freeze_a_shard(engine):
    import rpc
    from rpc import peer_pb2
    with Cluster(engine, groups=(100,), shards=1).up() as cluster:
        cluster.run("kv", "put", "k", "v")
        address = cluster.leader(100).address
        answer = rpc.unary(address, "Peer/Identify", peer_pb2.IdentifyRequest(gid=100), peer_pb2.IdentifyResponse)
        own = {"cluster_id": answer.cluster_id, "gid": 100, "identity": answer.identity}
        for name, value in (("cluster_id", b"another cluster."), ("gid", 101), ("identity", b"founded earlier.")):
            party = peer_pb2.Party(**dict(own, **{name: value}))
            for method, request, kind in (
                ("FreezeShard", peer_pb2.ShardEpoch(party=party, shard=0, epoch=9, to=101), peer_pb2.FrozenShard),
                ("CollectShard", peer_pb2.CollectShardRequest(
                    party=party, shard=0, epoch=9, decision=peer_pb2.DECISION_REJECTED), peer_pb2.CollectShardResponse),
                ("ShardDecision", peer_pb2.ShardEpoch(party=party, shard=0, epoch=9), peer_pb2.ShardDecisionResponse),
            ):
                sentence = refused(f"{method} for another {name}", lambda: rpc.unary(address, f"Peer/{method}", request, kind))
                require("FAILED_PRECONDITION" in sentence, f"{method} for another {name}: {sentence}")
            refused(f"an export for another {name}", lambda: rpc.unary(
                address, "Peer/OpenExport",
                peer_pb2.OpenExportRequest(
                    cluster_id=party.cluster_id, gid=party.gid, identity=party.identity, copy=peer_pb2.GroupCopy()),
                peer_pb2.Export))
        refused("FreezeShard for nobody", lambda: rpc.unary(
            address, "Peer/FreezeShard", peer_pb2.ShardEpoch(shard=0, epoch=9, to=101), peer_pb2.FrozenShard))
        cluster.run("kv", "put", "k", "w")
        require(cluster.get("k") == "w", "the shard is not served any more")


@check(["rocksdb"])
def a_node_of_another_cluster_at_the_address_serves_nobody_who_meant_this_one(engine):
    with Cluster(engine, groups=(100,), replicas=1, controllers=1, shards=2).up() as cluster:
        cluster.run("kv", "put", "k", "of the first")
        node = cluster.group(100)[0]
        node.kill()
        other = Cluster(engine, groups=(100,), replicas=1, controllers=1, shards=2)
        other.addresses[100] = cluster.addresses[100]
        with other.up():
            other.run("kv", "put", "k", "of the second")
            for command in (["put", "k", "astray"], ["get", "k"], ["delete", "k"], ["scan"]):
                code, out, err = cluster.cli("kv", *command, "--timeout", "2")
                require(code == 69 and not out and "another cluster" in err, f"{command}: exit {code}: {out} {err}")
            require(other.get("k") == "of the second", "what was meant for the first cluster is in the second")
        node.start()
        cluster.ready()
        require(cluster.get("k") == "of the first", "the first cluster's value is gone")


@check(["rocksdb", "lmdb", "sqlite"])
def a_request_with_a_long_id_does_not_stop_the_controller(engine):
    import rpc
    from rpc import controller_pb2
    with Cluster(engine, groups=(100,), shards=2).up() as cluster:
        def leader():
            rows = cluster.json("controller", "status")
            return next(cluster.addresses[0][row["id"]] for row in rows if row["role"] == "Leader")
        request = controller_pb2.JoinRequest(
            request_id=b"x" * 600, force=True,
            groups=[controller_pb2.GroupAddresses(gid=200, addresses=["127.0.0.1:1"])])
        sentence = refused("an id of 600 bytes", lambda: rpc.unary(
            leader(), "Controller/Join", request, controller_pb2.ConfigResponse))
        require("INVALID_ARGUMENT" in sentence and "600 bytes" in sentence, sentence)
        for node in cluster.group(0):
            node.kill()
            node.start()
        wait_for("the controllers", lambda: cluster.cli("controller", "query", "--timeout", "5")[0] == 0)
        require("200" not in cluster.query()["groups"], "the request was carried out")


CLOCK = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *time) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(clock, time);
    const char *ahead = getenv("CHECK_CLOCK_AHEAD");
    if (clock == CLOCK_REALTIME && ahead) time->tv_sec += atol(ahead);
    return result;
}
"""


@check(["rocksdb"])
def a_leader_whose_clock_is_ahead_ends_no_session(engine):
    with Cluster(engine, groups=(100,), shards=2).up() as cluster:
        source, library = (os.path.join(cluster.path, f"clock.{end}") for end in ("c", "so"))
        with open(source, "w") as file:
            file.write(CLOCK)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
        wrong = cluster.group(100)[0]
        wrong.kill()
        wrong.start({"LD_PRELOAD": library, "CHECK_CLOCK_AHEAD": str(365 * 86400)})
        wait_for("the node to be back", lambda: any(
            row["id"] == 0 and row["role"] != "Offline" for row in cluster.status(100)))
        for _ in range(20):
            leader = cluster.leader(100)
            if leader is wrong:
                break
            # It hands over to whoever is furthest.
            leader.kill(signal.SIGTERM)
            leader.start()
        require(leader is wrong, "the node with the wrong clock was never the leader")
        cluster.run("kv", "put", "k", "v")
        times = [row.get("logTimeMs", 0) for row in cluster.status(100) if row["role"] != "Offline"]
        ahead = max(times) - time.time() * 1000
        require(ahead < 60_000, f"log time is {ahead / 1000:.0f} s ahead")
        wrong.kill()
        cluster.leader(100)
        cluster.run("kv", "put", "k", "w")
        require(cluster.get("k") == "w", "the write after that is not there")


@check(["rocksdb"])
def sessions_are_listed_and_dropped(engine):
    with Cluster(engine, groups=(100,), replicas=1, controllers=1, shards=2).up() as cluster:
        for number in range(5):
            cluster.run("kv", "put", f"key{number}", "v")
        rows = json.loads(cluster.run("kv", "sessions", "-w", "json"))
        require(len(rows) >= 5, f"{len(rows)} sessions of five commands")
        require(all(len(row["token"]) == 32 and not row["closed"] for row in rows), f"{rows}")
        mine = json.loads(cluster.run("kv", "sessions", "--client", "127.0.0.1", "-w", "json"))
        require(len(mine) == len(rows), f"{len(mine)} of {len(rows)} are of this address")
        one = rows[0]
        cluster.run("kv", "sessions", "--drop", "--shard", str(one["shard"]), "--token", one["token"])
        left = json.loads(cluster.run("kv", "sessions", "-w", "json"))
        require([row["closed"] for row in left if row["token"] == one["token"]] == [True], f"{one} is open: {left}")
        cluster.run("kv", "sessions", "--drop", "--all")
        left = json.loads(cluster.run("kv", "sessions", "-w", "json"))
        require(all(row["closed"] for row in left), f"{left}")
        cluster.run("kv", "put", "key0", "w")
        require(cluster.get("key0") == "w", "a new session after that")
        code, _, err = cluster.cli("kv", "sessions", "--drop")
        require(code == 64 and "--all" in err, f"--drop without names: {code} {err}")


@check(["rocksdb"])
def a_slip_at_a_join_changes_nothing(engine):
    with Cluster(engine, groups=(100,), shards=2).up() as cluster:
        before = cluster.query()
        port = free_ports(1)[0]
        node = cluster.addresses[100][0]
        number = node.split(":")[1]
        for argument, code, word in (
            (f"102=127.0.0.1:{port}", 1, "--force"),
            (f"102={cluster.addresses[0][0]}", 1, "controller"),
            (f"102={node}", 1, "group 100"),
            (f"102=localhost:{number}", 1, "group 100"),
            ("102=http://localhost:1", 64, "http://localhost:1"), ("102=a:0", 64, "a:0"),
            ("102=localhost:1;localhost:2", 64, "localhost:1;localhost:2"), ("102=localhost:1\n", 64, "localhost:1"),
        ):
            found, _, err = cluster.cli("controller", "join", argument)
            require(found == code and word in err, f"join {argument!r}: exit {found}: {err}")
            require(cluster.query() == before, f"join {argument!r} changed the map")
        # A group that nobody has ever heard of gives its shards back.
        cluster.run("controller", "join", f"102=127.0.0.1:{port}", "--force")
        cluster.run("controller", "leave", "102")
        wait_for("the group to be gone", lambda: "102" not in cluster.query()["groups"])
        cluster.wait_settled()
        cluster.run("kv", "put", "k", "v")


@check(["rocksdb"])
def a_node_at_another_address_says_so_and_is_found_by_an_update(engine):
    with Cluster(engine, groups=(100,), shards=2).up() as cluster:
        node = cluster.group(100)[1]
        old = node.address
        node.kill()
        cluster.addresses[100][1] = f"127.0.0.1:{free_ports(1)[0]}"
        node.start()
        wait_for("the line that says so", lambda: f"the group knows this node at {old}" in node.log_text())
        require(f"member update 1 {node.address}" in node.log_text(), "the line doesn't name the remedy")
        leader = cluster.leader(100)
        cluster.run("group", "member", "update", "1", node.address, "--node", leader.address)
        wait_for("the map to follow", lambda: node.address in cluster.query()["groups"]["100"])
        wait_for("the node to take part", lambda: any(
            row["id"] == 1 and row["role"] == "Follower" and not row.get("condition") for row in cluster.status(100)))


@check(["rocksdb"])
def a_removal_that_would_leave_no_quorum_is_refused(engine):
    with Cluster(engine, groups=(100,), shards=2).up() as cluster:
        leader = cluster.leader(100)
        followers = [node for node in cluster.group(100) if node is not leader]
        followers[0].kill()
        # As long as it was heard of lately it counts as living.
        arguments = ("group", "member", "remove", str(followers[1].number), "--node", leader.address)

        def sentence():
            code, _, err = cluster.cli(*arguments)
            require(code == 1 and "no quorum" in err and "--force" in err, f"exit {code}: {err}")
            return True
        time.sleep(3)
        require(sentence(), "")
        cluster.run("kv", "put", "k", "v")
        # The one that is dead may go.
        cluster.run("group", "member", "remove", str(followers[0].number), "--node", leader.address)
        cluster.run("kv", "put", "k", "w")


@check(["rocksdb"])
def a_source_whose_leader_hangs_does_not_hold_a_move_up(engine):
    with Cluster(engine, shards=2).up() as cluster:
        cluster.put_many([(f"key{n}", "x" * 1000) for n in range(2000)])
        shard, gid = next((shard, gid) for shard, gid in enumerate(cluster.query()["shards"]) if gid == 100)
        leader = cluster.leader(gid)
        leader.signal(signal.SIGSTOP)
        try:
            began = time.monotonic()
            cluster.move(shard, 101)
            # Minutes, if every step waits for the one that hangs.
            cluster.wait_settled(60)
            print(f"        settled {time.monotonic() - began:.1f} s after the move was asked for", flush=True)
            require(cluster.query()["shards"][shard] == 101, "the shard didn't move")
            cluster.run("kv", "put", "k", "v")
        finally:
            leader.signal(signal.SIGCONT)


@check(["rocksdb", "lmdb", "sqlite"])
def a_leader_short_of_disk_gives_way_to_who_has_room(engine):
    own_mounts()
    with Cluster(engine, groups=(100,), shards=1) as cluster:
        nodes = cluster.group(100)
        try:
            for node in nodes:
                os.mkdir(node.directory)
                subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", node.directory], check=True)
            cluster.up()
            cluster.run("kv", "put", "before", "v")
            leader = cluster.leader(100)
            free = os.statvfs(leader.directory)
            with open(os.path.join(leader.directory, "others"), "wb") as file:
                os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - (8 << 20))
            wait_for("another leader", lambda: cluster.leader(100) is not leader, 60)
            cluster.run("kv", "put", "after", "v", "--timeout", "20")
            require(cluster.get("before") == "v" and cluster.get("after") == "v", "a value is not there")
        finally:
            for node in nodes:
                node.kill()
                subprocess.run(["umount", node.directory], check=False, capture_output=True)


@check()
def a_leader_that_hangs_while_it_sends_a_snapshot_is_replaced(engine):
    with Cluster(engine, groups=(100,), shards=1, retain=50).up() as cluster:
        leader = cluster.leader(100)
        follower, other = (node for node in cluster.group(100) if node is not leader)
        follower.kill()
        # Nothing that an engine could make shorter: it comes in pieces of 256 KiB, sixteen or so, a quarter of a second each.
        cluster.put_many([(f"key{number}", os.urandom(2000).hex()) for number in range(1000)])
        follower.start({"FLOTILLA_FAILPOINTS": "piece-fetched=250"})

        def arrives():
            for place, _, files in os.walk(follower.directory):
                if any(os.path.getsize(os.path.join(place, file)) > 0 for file in files if "/in" in place):
                    return True
            return False
        wait_for("the first piece of a snapshot", arrives, 60)
        leader.signal(signal.SIGSTOP)
        began = time.monotonic()
        try:
            # The one that is behind gives up what the hanging leader sends, and takes the new leader's.
            cluster.run("kv", "put", "after", "v", "--timeout", "60", timeout=90)
            print(f"        written {time.monotonic() - began:.1f} s after the leader was stopped", flush=True)
            require(cluster.get("after") == "v", "the write is not there")
            require(cluster.leader(100) is other, "the one that hangs, or the one that was behind, leads")
        finally:
            leader.signal(signal.SIGCONT)
        cluster.wait_replicas_agree(100)


@check(["rocksdb", "lmdb", "sqlite"], alone="beside others a leader may lose its office for want of processors")
def large_values_depose_no_leader(engine):
    with Cluster(engine, groups=(100,), shards=1).up() as cluster:
        cluster.run("kv", "put", "warm", "up")

        def term():
            return max(row["term"] for row in cluster.status(100) if row["role"] != "Offline")
        before = term()
        value = "v" * (4 << 20)
        lines = "".join(f"put key{n} {value}\n" for n in range(40)).encode()
        code, out, err = cluster.cli("kv", "batch", "--timeout", "60", stdin=lines, timeout=170)
        require(code == 0 and out.decode().split("\n").count("OK") == 40, f"exit {code}: {out[-200:]} {err}")
        require(term() == before, f"the term went from {before} to {term()}")
