"""One check for each promise of the README and the issues. Each takes the engine it runs on."""

import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections import namedtuple

from harness import (
    MIXED, PROGRAM, ROOT, Cluster, Failure, Writers, built, free_base, free_ports, require, wait_for)

ENGINES = ["rocksdb", "lmdb", "sqlite", "mixed"]
CHECKS = []

Check = namedtuple("Check", "name function engine alone is_quick builds")


def check(engines=ENGINES, alone=None, slow=None, builds=None):
    """Registers a check on each of the engines. `alone` says why nothing may run beside it, `slow` why --quick leaves it
    out; of the engines that has the first. `builds` names programs that scripts/build doesn't make; with an empty list the
    check builds for itself, and waits until nobody else does."""
    def register(function):
        for engine in engines:
            is_quick = slow is None and engine == engines[0]
            CHECKS.append(Check(f"{function.__name__}[{engine}]", function, engine, alone, is_quick, builds))
        return function
    return register


@check()
def moving_every_shard_there_and_back_loses_nothing(engine):
    with Cluster(engine).up() as cluster:
        keys = {f"key{number}": f"value{number}" for number in range(1000)}
        cluster.put_many(list(keys.items()))
        for round in range(2):
            before = cluster.query()["shards"]
            for shard, gid in enumerate(before):
                cluster.move(shard, 101 if gid == 100 else 100)
            cluster.wait_settled(120)
            after = cluster.query()["shards"]
            require(all(a != b for a, b in zip(before, after)), f"not every shard moved: {before} {after}")
            require(cluster.contents() == keys, f"contents differ after round {round}")
            for gid in (100, 101):
                served = [shard for shard, owner in enumerate(after) if owner == gid]
                for node in cluster.status(gid, exact=True):
                    held = [row["shardId"] for row in node["shards"]]
                    require(sorted(held) == served, f"group {gid} holds {held}, serves {served}")
            for gid in (100, 101):
                cluster.wait_replicas_agree(gid)


@check()
def appends_survive_kill_of_all_nodes_three_times(engine):
    with Cluster(engine, groups=(100,), shards=4).up() as cluster:
        for part in ("X1", "X2", "X3"):
            cluster.run("kv", "append", "x", part)
        for _ in range(3):
            for node in cluster.nodes:
                node.kill()
            cluster.start()
            cluster.ready()
            require(cluster.get("x") == "X1X2X3", f"the value is {cluster.get('x')!r}")


@check()
def killing_the_leader_under_writers_loses_and_doubles_nothing(engine):
    with Cluster(engine, groups=(100,), shards=4).up() as cluster:
        with Writers(cluster) as writers:
            wait_for("writes", lambda: writers.total() > 300)
            leader = cluster.leader(100)
            leader.kill()
            before = writers.total()
            wait_for("writes after the kill", lambda: writers.total() > before + 300)
            leader.start()
            wait_for("more writes", lambda: writers.total() > before + 600)
        writers.verify()
        cluster.wait_replicas_agree(100)


@check()
def moving_under_writers_loses_and_doubles_nothing(engine):
    with Cluster(engine, shards=4).up() as cluster:
        with Writers(cluster) as writers:
            wait_for("writes", lambda: writers.total() > 300)
            for _ in range(2):
                for shard, gid in enumerate(cluster.query()["shards"]):
                    cluster.move(shard, 101 if gid == 100 else 100)
                cluster.wait_settled(120)
            before = writers.total()
            wait_for("writes after the moves", lambda: writers.total() > before + 200)
        writers.verify()


@check()
def a_follower_that_is_far_behind_gets_a_snapshot(engine):
    with Cluster(engine, groups=(100,), shards=4, retain=200).up() as cluster:
        cluster.put_many([(f"before{n}", "x") for n in range(300)])
        leader = cluster.leader(100)
        follower = next(node for node in cluster.group(100) if node is not leader)
        follower.kill()
        for round in range(4):
            cluster.put_many([(f"key{n}", f"value{round}") for n in range(1000)])
        follower.start()

        def caught_up():
            row = next(row for row in cluster.status(100) if row["address"] == follower.address)
            return row["role"] != "Offline" and row["snapshotsInstalled"] >= 1
        wait_for("a snapshot to be installed", caught_up, 60)
        cluster.wait_replicas_agree(100)


@check()
def killing_the_target_between_staging_and_activation_finishes_the_move(engine):
    with Cluster(engine, shards=2).up(environment={"FLOTILLA_FAILPOINTS": "before-activate=4000"}) as cluster:
        keys = {f"key{number}": f"value{number}" for number in range(300)}
        cluster.put_many(list(keys.items()))
        source = cluster.query()["shards"][0]
        target = 101 if source == 100 else 100
        cluster.move(0, target)
        wait_for("the staged shard", lambda: any(
            row["state"] == "Pulling" and row["shardId"] == 0 for node in cluster.status(target) for row in node["shards"]))
        for node in cluster.group(target):
            node.kill()
        for node in cluster.group(target):
            node.start()
        cluster.wait_settled(60)
        require(cluster.query()["shards"][0] == target, "the shard is not at its target")
        require(cluster.contents() == keys, "contents differ")
        cluster.wait_replicas_agree(target)
        for node in cluster.status(source):
            require(all(row["shardId"] != 0 for row in node["shards"]), "the source still holds the shard")


@check()
def a_paused_leader_never_answers_an_old_value(engine):
    import rpc
    with Cluster(engine, groups=(100,), shards=1).up() as cluster:
        cluster.run("kv", "put", "k", "old")
        leader = cluster.leader(100)
        stub = rpc.Kv(leader.address)
        stub.get(b"k")
        leader.signal(signal.SIGSTOP)
        try:
            wait_for("a write through the successor", lambda: cluster.cli("kv", "put", "k", "new", "--timeout", "5")[0] == 0)
            queued = stub.get_later(b"k", timeout=10)
            time.sleep(0.1)
        finally:
            leader.signal(signal.SIGCONT)
        answer = queued()
        require(answer in (None, b"new"), f"the paused leader answered {answer!r}")


@check()
def a_repeated_write_gets_the_first_answer_after_restart_and_move(engine):
    import rpc
    with Cluster(engine, shards=1).up() as cluster:
        session = rpc.Session()
        owner = cluster.query()["shards"][0]
        first = rpc.append_at_leader(cluster, owner, b"k", b"once", session, 1)
        require(first == 4, f"the first append answered {first}")
        for node in cluster.group(owner):
            node.kill()
        cluster.start()
        cluster.ready()
        again = rpc.append_at_leader(cluster, owner, b"k", b"once", session, 1)
        require(again == 4, f"after the restart the answer was {again}")
        rpc.append_at_leader(cluster, owner, b"k", b"two", session, 2, lowest=1)
        target = 101 if owner == 100 else 100
        cluster.move(0, target)
        cluster.wait_settled()
        again = rpc.append_at_leader(cluster, target, b"k", b"once", session, 1)
        require(again == 4, f"after the move the answer was {again}")
        require(cluster.get("k") == "oncetwo", f"the value is {cluster.get('k')!r}")


@check()
def a_python_client_puts_gets_and_repeats(engine):
    import rpc
    with Cluster(engine, groups=(100,), shards=2).up() as cluster:
        leader = cluster.leader(100)
        stub = rpc.Kv(leader.address)
        session = rpc.Session()
        stub.put(b"python", b"\x00\xff\x80", session, 1)
        require(stub.get(b"python") == b"\x00\xff\x80", "the value differs")
        require(stub.get(b"nothing") is None, "an absent key has a value")
        out = cluster.json("kv", "get", "python")
        require(out.get("valueBase64") == "AP+A", f"-w json shows {out}")


@check()
def a_wiped_node_does_not_vote_and_is_brought_back_by_replace(engine):
    with Cluster(engine, groups=(100,), shards=2, retain=200).up() as cluster:
        cluster.put_many([(f"key{n}", "x") for n in range(100)])
        leader = cluster.leader(100)
        wiped, other = [node for node in cluster.group(100) if node is not leader]
        wiped.kill()
        shutil.rmtree(wiped.directory)
        wiped.start()
        pattern = f"flotilla group member replace {wiped.number} {re.escape(wiped.address)} --node \\S+"
        command = wait_for("the replace command in the log", lambda: re.search(pattern, wiped.log_text()))
        # Compacting its position away must not bring it a snapshot, and with it a vote.
        for round in range(3):
            cluster.put_many([(f"key{n}", f"y{round}") for n in range(500)])
        row = cluster.json("group", "status", "--node", wiped.address)[0]
        require(row["role"] == "Learner" and row["snapshotsInstalled"] == 0 and not row["healthy"], f"the wiped node: {row}")
        # Without its vote two of three are no majority when one more is down.
        other.kill()
        code, _, err = cluster.cli("kv", "put", "k", "v", "--timeout", "3")
        require(code in (69, 75), f"a write with one voter of three: exit {code}: {err}")
        other.start()
        cluster.ready()
        words = command.group(0).split()[1:]
        words[words.index("--node") + 1] = cluster.leader(100).address
        cluster.run(*words, timeout=60)
        members = cluster.json("group", "member", "list", "--gid", "100")
        require(all(member["voter"] for member in members), f"members: {members}")
        cluster.wait_replicas_agree(100)


@check(["rocksdb", "lmdb", "sqlite"])
def members_are_added_and_removed_one_at_a_time(engine):
    with Cluster(engine, groups=(100,), shards=2).up() as cluster:
        cluster.put_many([(f"key{n}", "x") for n in range(100)])
        cluster.addresses[100] = cluster.addresses[100] + [f"127.0.0.1:{free_ports(1)[0]}"]
        from harness import Node
        added = Node(cluster, 100, 3, engine)
        cluster.nodes.append(added)
        added.start()
        wait_for("the new node to wait", lambda: "takes no part until" in added.log_text())
        leader = cluster.leader(100)
        cluster.run("group", "member", "add", "3", added.address, "--node", leader.address, timeout=60)
        code, _, err = cluster.cli("group", "member", "add", "3", added.address, "--node", leader.address)
        require(code == 1 and "exists already" in err, f"a second add: exit {code}: {err}")
        gone = next(node for node in cluster.group(100) if node.number < 3 and node is not leader)
        members = json.loads(cluster.run(
            "group", "member", "remove", str(gone.number), "--node", leader.address, "-w", "json"))
        require(sorted(m["id"] for m in members) == sorted({0, 1, 2, 3} - {gone.number}), f"members: {members}")
        cluster.run("kv", "put", "after", "v")
        # Clients find the group where it is now.
        addresses = sorted(m["address"] for m in members)
        wait_for("the map to follow", lambda: sorted(cluster.query()["groups"]["100"]) == addresses)


@check()
def a_directory_of_another_engine_is_refused_unchanged(engine):
    with Cluster(engine, groups=(100,), shards=2).up() as cluster:
        cluster.run("kv", "put", "k", "v")
        node = cluster.group(100)[0]
        node.kill()

        def checksums():
            found = {}
            for folder, _, files in os.walk(node.directory):
                for name in files:
                    path = os.path.join(folder, name)
                    with open(path, "rb") as file:
                        found[path] = (hashlib.sha256(file.read()).hexdigest(), os.stat(path).st_mtime_ns)
            return found
        before = checksums()
        wrong = next(other for other in MIXED if other != node.engine)
        for arguments, word in (
            (node.arguments(engine=wrong), node.engine),
            ([a if a != "100" else "102" for a in node.arguments()], "group 100"),
            ([a if a != "0" else "1" for a in node.arguments()], "node 0"),
        ):
            done = subprocess.run([PROGRAM] + arguments, capture_output=True, timeout=60)
            text = done.stderr.decode()
            require(done.returncode == 1 and word in text, f"exit {done.returncode}: {text}")
            require(checksums() == before, "a file has changed")
        # The controllers of another cluster.
        with Cluster("rocksdb", groups=()) as other:
            other.start()
            wait_for("the other controller", lambda: other.cli("controller", "query", "--timeout", "2")[0] == 0)
            arguments = [a if a != cluster.endpoints else other.endpoints for a in node.arguments()]
            done = subprocess.run([PROGRAM] + arguments, capture_output=True, timeout=60)
            text = done.stderr.decode()
            require(done.returncode == 1 and "cluster" in text, f"another cluster: exit {done.returncode}: {text}")
            require(checksums() == before, "a file has changed")
        # A format of the future.
        path = os.path.join(node.directory, "FLOTILLA")
        with open(path) as file:
            identity = file.read()
        with open(path, "w") as file:
            file.write(identity.replace('"format" : 2', '"format" : 99'))
        before = checksums()
        done = subprocess.run([PROGRAM] + node.arguments(), capture_output=True, timeout=60)
        text = done.stderr.decode()
        require(done.returncode == 1 and "format 99" in text, f"a newer format: exit {done.returncode}: {text}")
        require(checksums() == before, "a file has changed")


@check(["rocksdb"])
def the_simulator_repeats_itself_and_finds_planted_bugs(engine):
    program = os.path.join(ROOT, "output", "flotilla-sim")
    traces = [subprocess.run([program, "--seed", "11", "--trace"], capture_output=True, timeout=60).stdout for _ in range(2)]
    require(traces[0] == traces[1] and len(traces[0]) > 10000, "two traces of one seed differ")
    for plant in ("ack-before-sync", "wiped-disk-votes", "unconfirmed-reads"):
        done = subprocess.run([program, "--seeds", "1..100", "--plant", plant], capture_output=True, timeout=120)
        require(done.returncode == 1, f"the planted bug {plant} was not found")


@check(["rocksdb"])
def a_group_without_quorum_refuses_and_recovers(engine):
    with Cluster(engine, groups=(100,), shards=2).up() as cluster:
        cluster.run("kv", "put", "k", "v")
        leader = cluster.leader(100)
        others = [node for node in cluster.group(100) if node is not leader]
        for node in others:
            node.kill()
        for arguments in (("kv", "put", "k", "w", "--timeout", "3"), ("kv", "get", "k", "--timeout", "3")):
            code, _, err = cluster.cli(*arguments)
            require(code in (69, 75), f"{arguments[1]} without a quorum: exit {code}: {err}")
        require(leader.process.poll() is None, "the node that was left has ended")
        for node in others:
            node.start()
        cluster.ready()
        require(cluster.get("k") in ("v", "w"), "the value is lost")


@check(["mixed"], slow="it draws at random for a while")
def kills_and_moves_at_random_lose_and_double_nothing(engine):
    seconds = float(os.environ.get("FLOTILLA_SOAK_SECONDS", "20"))
    seed = int(os.environ.get("FLOTILLA_SOAK_SEED", str(random.randrange(1 << 32))))
    dice = random.Random(seed)
    print(f"        seed {seed}", flush=True)
    with Cluster(engine, shards=8, retain=500).up() as cluster:
        with Writers(cluster) as writers:
            wait_for("writes", lambda: writers.total() > 100)
            end = time.monotonic() + seconds
            kills = moves = 0
            while time.monotonic() < end:
                # One node of each group at a time: a group that keeps its majority must keep its word.
                victim = dice.choice(cluster.nodes)
                victim.kill()
                kills += 1
                for _ in range(dice.randrange(3)):
                    code, _, _ = cluster.cli("controller", "move", str(dice.randrange(8)), str(dice.choice([100, 101])))
                    moves += code == 0
                time.sleep(dice.uniform(0.1, 1.5))
                victim.start()
                if dice.random() < 0.3:
                    # All of a group at once: nothing that was acknowledged may depend on memory.
                    gid = dice.choice([100, 101])
                    for node in cluster.group(gid):
                        node.kill()
                    for node in cluster.group(gid):
                        node.start()
                    kills += 3
                else:
                    time.sleep(dice.uniform(0.5, 1.5))
            before = writers.total()
            wait_for("writes after the last kill", lambda: writers.total() > before + 100, 60)
        cluster.wait_settled(60)
        writers.verify()
        for gid in (100, 101):
            cluster.wait_replicas_agree(gid)
        print(f"        {kills} kills, {moves} moves, {writers.total()} appends acknowledged", flush=True)


@check(["rocksdb"])
def a_dead_group_holds_up_no_other_groups_moves(engine):
    with Cluster(engine, groups=(100, 101, 102), shards=24).up() as cluster:
        before = cluster.query()["shards"]
        for node in cluster.group(100):
            node.kill()
        for shard, gid in enumerate(before):
            if gid == 100:
                cluster.move(shard, 101)
        moving = [shard for shard, gid in enumerate(before) if gid == 102]
        for shard in moving:
            cluster.move(shard, 101)
        wait_for("the living group's shards to move", lambda: all(
            cluster.query()["shards"][shard] == 101 for shard in moving), 60)
        for node in cluster.group(100):
            node.start()
        cluster.wait_settled(60)
        require(set(cluster.query()["shards"]) == {101}, "not every shard is at its target")


@check(["rocksdb"])
def a_paused_node_does_not_hold_up_a_move(engine):
    with Cluster(engine, shards=4).up() as cluster:
        cluster.put_many([(f"key{n}", "x") for n in range(100)])
        paused = next(node for node in cluster.group(100) if node is not cluster.leader(100))
        paused.signal(signal.SIGSTOP)
        try:
            for shard, gid in enumerate(cluster.query()["shards"]):
                if gid == 100:
                    cluster.move(shard, 101)
            # A call to the paused node would take 30 s.
            cluster.wait_settled(20)
        finally:
            paused.signal(signal.SIGCONT)
        require(len(cluster.contents()) == 100, "keys are missing")


@check(["rocksdb"])
def a_node_stopped_while_it_waits_for_controllers_joins_later(engine):
    with Cluster(engine, groups=(100,), replicas=1, controllers=1, shards=2) as cluster:
        alone = cluster.group(100)[0]
        alone.start()
        wait_for("the node to wait", lambda: "waiting for the controller" in alone.log_text())
        alone.signal(signal.SIGTERM)
        require(alone.process.wait(timeout=60) == 0, "a stop while waiting is no failure")
        alone.process = None
        cluster.up()
        cluster.run("kv", "put", "k", "v")
        require(cluster.get("k") == "v", "the value differs")


@check(["rocksdb"])
def a_node_stops_cleanly_under_load(engine):
    with Cluster(engine, groups=(100,), shards=2).up() as cluster:
        with Writers(cluster) as writers:
            wait_for("writes", lambda: writers.total() > 100)
            leader = cluster.leader(100)
            leader.signal(signal.SIGTERM)
            require(leader.process.wait(timeout=60) == 0, "SIGTERM under load")
            leader.process = None
            before = writers.total()
            wait_for("writes through another leader", lambda: writers.total() > before + 100)
            leader.start()
        writers.verify()


@check(["rocksdb"])
def data_service_goes_on_without_controllers(engine):
    with Cluster(engine, groups=(100,), shards=2).up() as cluster:
        import rpc
        session = rpc.Session()
        rpc.append_at_leader(cluster, 100, b"k", b"a", session, 1)
        for node in cluster.group(0) + cluster.group(100):
            node.kill()
        for node in cluster.group(100):
            node.start()

        def append():
            for node in cluster.group(100):
                try:
                    return rpc.Kv(node.address).append(b"k", b"b", session, 2)
                except rpc.Refused:
                    continue
            return None
        length = wait_for("an append while no controller runs", append, 60)
        require(length == 2, f"the append answered {length}")


@check(["rocksdb"])
def bad_input_gets_one_line_a_code_and_no_change(engine):
    with Cluster(engine, shards=8).up() as cluster:
        before = cluster.query()

        def expect(code, word, *arguments, stdin=None):
            got, out, err = cluster.cli(*arguments, stdin=stdin)
            lines = [line for line in err.strip().split("\n") if line]
            require(got == code, f"{arguments[:3]}: exit {got}, expected {code}: {err[:200]}")
            require(any(word in line for line in lines), f"{arguments[:3]}: {word!r} is not in {err[:200]!r}")
        expect(1, "empty", "kv", "put", "", "v")
        expect(1, "481 bytes", "kv", "put", "k" * 481, "v")
        expect(1, "8388609 bytes", "kv", "put", "k", "-", stdin=b"x" * (8 * 1024 * 1024 + 1))
        expect(2, "no group 999", "controller", "move", "1", "999")
        expect(2, "no group 999", "controller", "leave", "999")
        expect(1, "out of range", "controller", "move", "8", "100")
        expect(1, "group 100", "controller", "join", f"102={cluster.addresses[100][0]}")
        expect(1, "last one", "controller", "leave", "100", "101")
        expect(2, "no config 4242", "controller", "query", "4242")
        expect(64, "Usage", "frobnicate")
        expect(64, "Usage", "kv", "frobnicate")
        expect(64, "--bogus", "kv", "get", "k", "--bogus")
        require(cluster.query() == before, "the map has changed")
        # The limits themselves are allowed.
        cluster.run("kv", "put", "k" * 480, "v")
        cluster.run("kv", "put", "big", "-", stdin=b"x" * (8 * 1024 * 1024))
        require(len(cluster.run("kv", "get", "big")) == 8 * 1024 * 1024 + 1, "an 8 MiB value differs")
        code, _, err = cluster.cli("kv", "get", "k", "--endpoints", f"127.0.0.1:{free_ports(1)[0]}", "--timeout", "1")
        require(code == 69 and "no controller answers" in err, f"an unreachable controller: exit {code}: {err}")
        # A second server on a port that is taken.
        taken = cluster.group(100)[0]
        arguments = [a if a != taken.directory else taken.directory + "-second" for a in taken.arguments()]
        done = subprocess.run([PROGRAM] + arguments, capture_output=True, timeout=60)
        require(done.returncode == 69 and b"in use" in done.stderr, f"a taken port: {done.returncode}: {done.stderr[:200]}")
        # The same directory twice.
        arguments = taken.arguments()
        arguments[arguments.index("--cluster") + 1] = f"127.0.0.1:{free_ports(1)[0]}"
        done = subprocess.run([PROGRAM] + arguments, capture_output=True, timeout=60)
        require(done.returncode == 1 and b"in use by process" in done.stderr, f"a locked directory: {done.stderr[:200]}")


@check(["rocksdb", "lmdb", "sqlite"])
def a_truncated_directory_is_refused_with_a_sentence(engine):
    with Cluster(engine, groups=(100,), shards=2).up() as cluster:
        cluster.put_many([(f"key{n}", "x" * 100) for n in range(500)])
        node = cluster.group(100)[0]
        node.kill()
        victim = {"rocksdb": "CURRENT", "lmdb": "data.mdb", "sqlite": "engine.db"}[engine]
        path = os.path.join(node.directory, "engine", victim)
        if engine == "sqlite":
            # Everything may still be in the log file.
            for suffix in ("-wal", "-shm"):
                if os.path.exists(path + suffix):
                    os.remove(path + suffix)
        os.truncate(path, 5000 if engine != "rocksdb" else 3)
        done = subprocess.run([PROGRAM] + node.arguments(), capture_output=True, timeout=60)
        text = done.stderr.decode(errors="replace")
        require(done.returncode == 1 and "engine" in text, f"exit {done.returncode}: {text[-300:]}")
        # The others go on.
        require(cluster.get("key1") == "x" * 100, "the group doesn't answer")


@check(["rocksdb", "lmdb", "sqlite", "mixed"])
def a_local_cluster_resumes_with_all_data(engine):
    path = tempfile.mkdtemp(prefix="flotilla-accept-")
    port = free_base()
    environment = dict(os.environ, FLOTILLA_ENDPOINTS=f"localhost:{port},localhost:{port + 1},localhost:{port + 2}")

    def cli(*arguments):
        return subprocess.run([PROGRAM, *arguments], capture_output=True, timeout=60, env=environment)
    try:
        for round in range(2):
            process = subprocess.Popen(
                [PROGRAM, "local", "--data-dir", os.path.join(path, "data"), "--base-port", str(port), "--shards", "8",
                 "--engine", engine], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
            try:
                line = process.stdout.readline().decode()
                require(line.startswith("ready"), f"round {round}: {line!r}")
                if round == 0:
                    require(cli("kv", "put", "k", "v").returncode == 0, "put failed")
                require(cli("kv", "get", "k").stdout == b"v\n", f"round {round}: the value is lost")
            finally:
                process.send_signal(signal.SIGINT)
                code = process.wait(timeout=60)
            require(code == 0, f"Ctrl-C: exit {code}")
    finally:
        shutil.rmtree(path, ignore_errors=True)


@check(["rocksdb", "lmdb", "sqlite"], builds=["replicated-counter"])
def the_counter_example_runs_and_reopens(engine):
    """RaftLog embedded in a program that knows nothing of keys and shards."""
    program = built("replicated-counter")
    path = tempfile.mkdtemp(prefix="flotilla-accept-")
    try:
        for round in range(2):
            done = subprocess.run(
                [program, "--engine", engine, "--directory", os.path.join(path, "counter")], capture_output=True, timeout=120)
            require(done.returncode == 0, f"round {round}: exit {done.returncode}: {done.stderr.decode()[-300:]}")
    finally:
        shutil.rmtree(path, ignore_errors=True)


@check(["rocksdb"])
def the_quick_start_runs_as_written(engine):
    """Fixed ports: in a network namespace of its own."""
    script = os.path.join(ROOT, "Tests", "Acceptance", "quickstart.sh")
    done = subprocess.run(["unshare", "--net", "--map-root-user", "bash", script], capture_output=True, timeout=180)
    require(done.returncode == 0, f"exit {done.returncode}: {done.stdout.decode()[-800:]} {done.stderr.decode()[-400:]}")


@check(["mixed"], slow="it builds everything", builds=[])
def the_demo_runs_through_without_a_terminal(engine):
    path = tempfile.mkdtemp(prefix="flotilla-accept-")
    try:
        done = subprocess.run(
            [os.path.join(ROOT, "scripts", "demo"), "--yes", "--engine", engine, "--base-port",
             str(free_base()), "--data-dir", os.path.join(path, "data")],
            capture_output=True, timeout=600, stdin=subprocess.DEVNULL)
        text = done.stdout.decode(errors="replace")
        require(done.returncode == 0, f"exit {done.returncode}: {text[-500:]} {done.stderr.decode()[-300:]}")
        for word in ("Lisbon, Portugal", "shard 5: group", "Leader", "data and logs"):
            require(word in text, f"{word!r} is not in the tour")
    finally:
        shutil.rmtree(path, ignore_errors=True)


@check(["rocksdb"])
def the_command_line_prints_what_it_says(engine):
    with Cluster(engine, groups=(100,), shards=4).up() as cluster:
        require(cluster.cli("kv", "get", "nothing")[0:2] == (2, b""), "an absent key")
        cluster.run("kv", "put", "a", "1")
        require(cluster.cli("kv", "cas", "a", "0", "2")[0] == 2, "a failed compare")
        require(cluster.cli("kv", "cas", "a", "1", "2")[0] == 0, "a compare that holds")
        require(cluster.cli("kv", "cas", "--absent", "b", "new")[0] == 0, "compare with absent")
        require(cluster.run("kv", "append", "a", "34") == b"3\n", "append's length")
        require(cluster.run("kv", "scan", "--prefix", "a") == b"a\t234\n", "scan")
        require(cluster.cli("kv", "delete", "a")[0] == 0 and cluster.cli("kv", "delete", "a")[0] == 2, "delete")
        require(cluster.json("kv", "get", "b") == {"key": "b", "value": "new"}, "json")
        require(cluster.run("--version").startswith(b"flotilla "), "--version")
        require(b"compdef" in cluster.run("--generate-completion-script", "zsh"), "completions")
        lines = cluster.run("kv", "batch", "--in-order", "-w", "json", stdin=b"put j 1\nget j\n").decode().split("\n")
        require(json.loads(lines[0]) == {"exitCode": 0}, f"batch in JSON: {lines}")
        require(json.loads(lines[1]) == {"exitCode": 0, "value": "1"}, f"batch in JSON: {lines}")
        # Bytes are bytes, whatever they spell; CR LF is one end of a line.
        cluster.run("kv", "batch", stdin=b"put bytes \xff\xcc\x81\r\r\n")
        require(cluster.run("kv", "get", "bytes") == b"\xff\xcc\x81\r\n", "batch changes bytes")
        node = cluster.status(100)[0]
        require(node["healthy"], f"a founder is not healthy: {node}")
        for field in ("id", "address", "role", "term", "commitIndex", "lastApplied", "storageBytes", "healthy", "lastSeen"):
            require(field in node, f"{field} is not in group status")
        bench = json.loads(cluster.run("bench", "cluster", "--count", "500", "--clients", "4", "-w", "json"))
        require(bench[0]["operations"] == 500 and bench[0]["errors"] == 0, f"bench: {bench}")
