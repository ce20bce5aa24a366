"""Backups become clusters, and one survivor goes on for a group that has lost its quorum."""

import hashlib
import json
import os
import shutil
import signal
import subprocess

from checks import check
from harness import MIXED, PROGRAM, Cluster, require, wait_for


def stop(nodes):
    for node in nodes:
        node.signal(signal.SIGTERM)
    for node in nodes:
        require(node.process.wait(timeout=60) == 0, f"{node.directory}: exit {node.process.returncode}")
        node.process = None


def inspect(cluster, path, *arguments):
    return json.loads(cluster.run("snapshot", "inspect", path, "-w", "json", *arguments))


def furthest(cluster, gid):
    """The directory of the node that has applied most."""
    return max(
        (node.directory for node in cluster.group(gid)),
        key=lambda path: inspect(cluster, path, "--quick")["groups"][0]["applied"]["index"])


def back_up(cluster, directories, out):
    return cluster.run("backup", "create", "--out", out, *[word for path in directories for word in ("--from", path)])


def checksums(path):
    sums = {}
    for directory, _, names in os.walk(path):
        for name in names:
            with open(os.path.join(directory, name), "rb") as file:
                sums[os.path.join(directory, name)] = hashlib.sha256(file.read()).hexdigest()
    return sums


@check()
def a_stopped_node_is_inspected_saved_and_verified(engine):
    with Cluster(engine, groups=(100,), shards=4).up() as cluster:
        keys = {f"key{number}": f"value{number}" for number in range(300)}
        cluster.put_many(list(keys.items()))
        cluster.run("kv", "put", "<script>alert(1)</script>", "v")
        cluster.wait_replicas_agree(100)
        one, other = cluster.group(100)[:2]
        # Beside a running server nothing is opened.
        for words in (["inspect", one.directory], ["verify", one.directory],
                      ["save", "--from", one.directory, "--out", os.path.join(cluster.path, "no")]):
            code, _, err = cluster.cli("snapshot", *words)
            require(code == 69 and "in use by process" in err, f"{words[0]} beside a server: exit {code}: {err}")
        # Killed, a node may have applied less than its log holds.
        one.kill()
        code, out, _ = cluster.cli("snapshot", "verify", one.directory)
        require(code == 0, f"verify of a killed node: exit {code}: {out}")
        one.start()
        cluster.wait_replicas_agree(100)
        stop([one, other])
        before = checksums(one.directory)
        report = inspect(cluster, one.directory)["groups"][0]
        require(sum(shard["contents"]["keys"] for shard in report["shards"]) == 301, f"keys: {report['shards']}")
        require(report["log"]["lastIndex"] >= report["applied"]["index"] > 300, f"log: {report['log']}")
        code, out, err = cluster.cli("snapshot", "verify", one.directory)
        require(code == 0 and b"readable, not sealed" in out and "without a seal" in err, f"verify: exit {code}: {out}")
        require(cluster.cli("snapshot", "verify", "--strict", one.directory)[0] == 2, "--strict takes what has no seal")
        saved = os.path.join(cluster.path, "saved")
        cluster.run("snapshot", "save", "--from", one.directory, "--out", saved)
        code, out, _ = cluster.cli("snapshot", "verify", saved)
        require(code == 0 and b": good; " in out, f"verify of a snapshot: exit {code}: {out}")
        require(inspect(cluster, saved)["isSealed"], "the snapshot isn't sealed")
        require(checksums(one.directory) == before, "reading has changed the directory")
        # Replicas hold the same; another state of one differs in just what was written.
        code, out, _ = cluster.cli("snapshot", "diff", saved, other.directory)
        require(code == 0 and out.startswith(b"equal: 301 keys"), f"diff of replicas: exit {code}: {out}")
        one.start()
        other.start()
        cluster.ready()
        cluster.run("kv", "put", "key7", "changed")
        cluster.run("kv", "delete", "key8")
        cluster.run("kv", "put", "new", "v")
        cluster.wait_replicas_agree(100)
        stop([one])
        code, out, _ = cluster.cli("snapshot", "diff", saved, one.directory, "-w", "json")
        found = {(row["key"], row["kind"]) for row in json.loads(out)["differences"]}
        wanted = {("key7", "differs"), ("key8", "onlyInA"), ("new", "onlyInB")}
        require(code == 2 and found == wanted, f"diff: exit {code}: {found}")
        # A flipped bit, a cut file, a missing one.
        chunk = next(os.path.join(path, name) for path, _, names in os.walk(saved) for name in names if "chunk" in name)
        with open(chunk, "rb") as file:
            whole = file.read()
        for damaged in (whole[:-9], whole[:40] + bytes([whole[40] ^ 4]) + whole[41:], None):
            os.remove(chunk)
            if damaged is not None:
                with open(chunk, "wb") as file:
                    file.write(damaged)
            code, out, _ = cluster.cli("snapshot", "verify", saved)
            require(code == 2 and b"damaged" in out and os.path.basename(chunk).encode() in out, f"exit {code}: {out}")
            with open(chunk, "wb") as file:
                file.write(whole)
        code, _, err = cluster.cli("snapshot", "inspect", os.path.join(cluster.path, "absent"))
        require(code == 1 and "does not exist" in err, f"a mistyped path: exit {code}: {err}")


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
    with Cluster("mixed", shards=8) as old, Cluster(engine, shards=8) as new:
        old.up()
        keys = {f"key{number}": f"value{number}" for number in range(500)}
        old.put_many(list(keys.items()))
        shards = old.query()["shards"]
        session = rpc.Session()
        owner = next(gid for gid in (100, 101) if owns(old, gid, b"once", session))
        number = old.query()["config"]
        stop(old.nodes)
        archive = os.path.join(old.path, "backup")
        back_up(old, [furthest(old, gid) for gid in (0, 100, 101)], archive)

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
        done = subprocess.run([PROGRAM] + arguments, capture_output=True, timeout=60)
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
