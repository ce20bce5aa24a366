"""Backups become clusters, and one survivor goes on for a group that has lost its quorum."""

import os
import shutil
import signal
import subprocess

import archive_by_hand
from checks import check
from harness import MIXED, PROGRAM, Cluster, Skipped, require, wait_for


def stop(nodes):
    for node in nodes:
        node.signal(signal.SIGTERM)
    for node in nodes:
        require(node.process.wait(timeout=30) == 0, f"{node.directory}: exit {node.process.returncode}")
        node.process = None


def restore(archive, out, cluster, engine):
    arguments = ["snapshot", "restore", "--from", archive, "--out", out, "--controllers", cluster.endpoints]
    arguments += ["--engine", ",".join(MIXED) if engine == "mixed" else engine]
    for gid, addresses in cluster.addresses.items():
        if gid:
            arguments += ["--group", f"{gid}={','.join(addresses)}"]
    return cluster.cli(*arguments, timeout=120)


@check(["rocksdb", "lmdb", "mixed"])
def a_backup_becomes_a_cluster_on_another_engine(engine):
    import rpc
    if not archive_by_hand.is_possible():
        raise Skipped("libxxhash is not installed")
    with Cluster("sqlite", shards=8) as old, Cluster(engine, shards=8) as new:
        old.up()
        keys = {f"key{number}": f"value{number}" for number in range(500)}
        old.put_many(list(keys.items()))
        shards = old.query()["shards"]
        session = rpc.Session()
        owner = next(gid for gid in (100, 101) if owns(old, gid, b"once", session))
        number = old.query()["config"]
        stop(old.nodes)
        archive = os.path.join(old.path, "backup")
        archive_by_hand.backup([[node.directory for node in old.group(gid)] for gid in (0, 100, 101)], archive)

        # What is damaged, or doesn't fit, leaves nothing.
        chunk = os.path.join(archive, "group-101", "0", "0.chunk")
        with open(chunk, "r+b") as file:
            whole = file.read()
            file.seek(len(whole) // 2)
            file.write(bytes([whole[len(whole) // 2] ^ 1]))
        code, _, err = restore(archive, new.path, new, engine)
        require(code == 2 and "damaged data" in err, f"a damaged backup: exit {code}: {err}")
        require(os.listdir(new.path) == [], f"left behind: {os.listdir(new.path)}")
        with open(chunk, "wb") as file:
            file.write(whole)

        code, out, err = restore(archive, new.path, new, engine)
        require(code == 0, f"restore: exit {code}: {err}")
        commands = [line.split() for line in out.decode().splitlines() if line.startswith("  flotilla ")]
        require(len(commands) == len(new.nodes), f"commands: {commands}")
        for node, command in zip(new.nodes, commands):
            printed = dict(zip(command[3::2], command[4::2]))
            require(printed["--db"] == node.directory and printed["--engine"] == node.engine, f"{command}")
        new.start()
        new.ready()
        config = new.query()
        require(config["config"] > number and config["shards"] == shards, f"config: {config}")
        require(config["groups"]["100"] == new.addresses[100], f"addresses: {config['groups']}")
        contents = new.contents()
        require(contents.pop("once") == "once", "the session's write is lost")
        require(contents == keys, "contents differ")
        again = rpc.append_at_leader(new, owner, b"once", b"once", session, 1)
        require(again == 4 and new.get("once") == "once", f"a repeated write answered {again}")
        new.run("kv", "put", "after", "v")
        new.move(0, 101 if shards[0] == 100 else 100)
        new.wait_settled()
        for gid in (100, 101):
            new.wait_replicas_agree(gid)

        # Nodes of the old cluster are strangers to the new one.
        stranger = old.group(100)[0]
        arguments = [a if a != old.endpoints else new.endpoints for a in stranger.arguments()]
        done = subprocess.run([PROGRAM] + arguments, capture_output=True, timeout=30)
        text = done.stderr.decode()
        require(done.returncode == 1 and "belongs to cluster" in text, f"an old node: exit {done.returncode}: {text}")


def owns(cluster, gid, key, session):
    """Appends the key to itself at a group; false if another one owns it."""
    import rpc
    result = rpc.Kv(cluster.leader(gid).address)._call(rpc.kv_pb2.Request(
        append=rpc.kv_pb2.Append(key=key, value=key), session=session.token, session_end_ms=session.end,
        sequence=1, lowest_unanswered=1))
    return result.WhichOneof("result") == "append" and result.append.length == len(key)


@check()
def one_survivor_goes_on_for_a_group_that_lost_its_quorum(engine):
    with Cluster(engine, groups=(100,), shards=4).up() as cluster:
        keys = {f"key{number}": f"value{number}" for number in range(300)}
        cluster.put_many(list(keys.items()))
        cluster.wait_replicas_agree(100)
        survivor, *lost = cluster.group(100)[::-1]
        for node in cluster.group(100):
            node.kill()
        before = open(os.path.join(survivor.directory, "FLOTILLA")).read()
        code, out, err = cluster.cli("group", "recover", "--db", survivor.directory)
        text = out.decode()
        require(code == 1 and "--force-new-membership" in err, f"without the flag: exit {code}: {err}")
        for node in lost:
            require(f"node {node.number} at {node.address}" in text, f"the report doesn't name {node.address}: {text}")
        require("What may be lost" in text, text)
        require(open(os.path.join(survivor.directory, "FLOTILLA")).read() == before, "looking has changed the identity")
        cluster.run("group", "recover", "--db", survivor.directory, "--force-new-membership")

        survivor.start()
        wait_for("the map to name the survivor alone", lambda: cluster.query()["groups"]["100"] == [survivor.address])
        cluster.ready()
        require(cluster.contents() == keys, "contents differ")
        require("by force" in survivor.log_text(), "the log doesn't say what was done")
        # An old member that comes back isn't heard (alone it can't do worse).
        term = cluster.status(100)[0]["term"]
        lost[0].start()
        wait_for("the old member to campaign", lambda: "preCandidate" in lost[0].log_text())
        cluster.run("kv", "put", "while", "v")
        require(cluster.status(100)[0]["term"] == term, "an old member has raised the term")
        lost[0].kill()

        # New nodes, in the places of the lost ones.
        for node in lost:
            shutil.rmtree(node.directory)
            with open(node.log, "w"):
                pass
            node.start()
            wait_for("the new node to wait", lambda: "takes no part until" in node.log_text())
            leader = cluster.leader(100)
            cluster.run(
                "group", "member", "add", str(node.number), node.address, "--node", leader.address, timeout=60)
            wait_for("its vote", lambda: any(
                member["id"] == node.number and member["voter"]
                for member in cluster.json("group", "member", "list", "--node", cluster.leader(100).address)))
        keys["while"] = "v"
        require(cluster.contents() == keys, "contents differ")
        cluster.wait_replicas_agree(100)
        # A majority is one again.
        survivor.kill()
        cluster.run("kv", "put", "after", "v", timeout=60)


@check(["mixed"])
def a_survivor_that_slept_through_a_move_does_not_serve_the_shard(engine):
    import rpc
    with Cluster(engine, shards=2).up() as cluster:
        keys = {f"key{number}": "before" for number in range(40)}
        cluster.put_many(list(keys.items()))
        shards = cluster.query()["shards"]
        source, target = shards[0], 101 if shards[0] == 100 else 100
        cluster.wait_replicas_agree(source)
        sleeper = next(node for node in cluster.group(source) if node is not cluster.leader(source))
        sleeper.kill()
        cluster.move(0, target)
        cluster.wait_settled()
        cluster.put_many([(key, "after") for key in keys])
        for node in cluster.group(source):
            node.kill()
        cluster.run("group", "recover", "--db", sleeper.directory, "--force-new-membership")
        sleeper.start()
        wait_for("the shard to be frozen", lambda: any(
            row["shardId"] == 0 and row["state"] == "BePulling"
            for node in cluster.status(source) for row in node["shards"]))
        require("knows nothing of the move" in sleeper.log_text(), "the log doesn't say why")
        cluster.ready()
        require(set(cluster.contents().values()) == {"after"}, "an old value is served")
        stub = rpc.Kv(sleeper.address)
        for key in keys:
            try:
                result = stub._call(rpc.kv_pb2.Request(get=rpc.kv_pb2.Get(key=key.encode())))
            except rpc.Refused:
                continue  # it says that it doesn't serve the shard, which is as good
            require(result.get.value != b"before", f"the survivor answers {key} with {result.get.value!r}")
