"""Checks of what the engines promise to a running cluster: native movement, copies, conversion."""

import json
import os
import random
import subprocess
import tempfile

from checks import check
from harness import PROGRAM, ROOT, Cluster, Skipped, built, own_mounts, require, wait_for

FORMS = {"rocksdb": "rocksdb-sst-1", "lmdb": "portable-1", "sqlite": "sqlite-db-1"}
OTHER = {"rocksdb": "lmdb", "lmdb": "sqlite", "sqlite": "rocksdb"}


def flotilla(*arguments):
    done = subprocess.run([PROGRAM, *arguments], capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


@check()
def a_member_that_missed_moves_catches_up(engine):
    with Cluster(engine, shards=4).up() as cluster:
        keys = {f"key{number}": f"value{number}" for number in range(400)}
        cluster.put_many(list(keys.items()))
        leader = cluster.leader(101)
        absent = next(node for node in cluster.group(101) if node is not leader)
        absent.kill()
        for shard in range(4):
            cluster.move(shard, 101)
        cluster.wait_settled(120)
        keys |= {f"later{number}": "x" for number in range(200)}
        cluster.put_many([(key, value) for key, value in keys.items() if key.startswith("later")])
        absent.start()
        wait_for("the member to have noticed", lambda: "applies nothing more until" in absent.log_text(), 60)
        cluster.wait_replicas_agree(101)
        # It can lead again: the other follower goes, and this one is needed for every write.
        other = next(node for node in cluster.group(101) if node not in (leader, absent))
        other.kill()
        cluster.put_many([("with-two", "y")])
        keys["with-two"] = "y"
        other.start()
        require(cluster.contents() == keys, "contents differ")


@check(["rocksdb", "lmdb", "sqlite"])
def families_move_in_the_engines_own_form(engine):
    with Cluster(engine, shards=2, retain=200).up() as cluster:
        keys = [(f"key{number}", "x" * 500) for number in range(500)]
        cluster.put_many(keys)
        follower = next(node for node in cluster.group(100) if node is not cluster.leader(100))
        follower.kill()
        for _ in range(4):
            cluster.put_many(keys)
        follower.start()
        form = FORMS[engine]
        wait_for("a snapshot in the engine's form", lambda: f"({form})" in follower.log_text(), 60)
        for shard, gid in enumerate(cluster.query()["shards"]):
            cluster.move(shard, 101 if gid == 100 else 100)
        cluster.wait_settled(60)
        logs = "".join(node.log_text() for node in cluster.nodes)
        require(f"form={form}" in logs, f"no shard was staged as {form}")
        require(len(cluster.contents()) == len(keys), "keys are missing")


@check(["rocksdb", "lmdb", "sqlite"])
def a_node_changes_its_engine(engine):
    other = OTHER[engine]
    with Cluster(engine, groups=(100,), shards=4).up() as cluster:
        keys = {f"key{number}": f"value{number}" for number in range(300)}
        cluster.put_many(list(keys.items()))
        node = cluster.group(100)[1]
        code, _, err = flotilla("snapshot", "convert", "--from", node.directory, "--to", node.directory + "-x",
                                "--engine", other)
        require(code == 69 and "in use" in err, f"a running node was converted: {code} {err}")
        node.kill()
        old, new = node.directory, node.directory + "-" + other
        code, out, err = flotilla("snapshot", "convert", "--from", old, "--to", new, "--engine", other)
        require(code == 0 and "content hashes agree" in out, f"convert: exit {code}: {err}")
        node.directory, node.engine = new, other
        node.start()
        cluster.wait_replicas_agree(100)
        row = next(row for row in cluster.status(100) if row["address"] == node.address)
        require(row["engine"] == other, f"the node runs on {row['engine']}")
        require(cluster.contents() == keys, "contents differ")
        node.kill()
        node.directory, node.engine = old, engine
        node.start()
        require(node.process.wait(timeout=60) != 0, "a server started on a directory that was converted")
        require(f"lives in {new}" in node.log_text(), node.log_text()[-300:])
        code, _, err = flotilla("snapshot", "convert", "--from", new, "--to", old, "--engine", engine)
        require(code == 1 and "not empty" in err, f"converted over a directory: {code} {err}")
        code, _, err = flotilla("snapshot", "convert", "--from", new, "--to", new + "-y", "--engine", "rockdb")
        require(code == 64 and "rocksdb, lmdb or sqlite" in err, f"{code} {err}")
        node.process = None


@check(["rocksdb", "lmdb", "sqlite"])
def no_server_runs_on_a_copy(engine):
    with Cluster(engine, groups=(100,), shards=2).up() as cluster:
        cluster.put_many([("a", "1")])
        node = cluster.group(100)[2]
        node.kill()
        copy = node.directory + "-copy"
        code, out, err = flotilla("snapshot", "checkpoint", "--from", node.directory, "--to", copy)
        require(code == 0 and "a copy of node 2 of group 100" in out, f"checkpoint: exit {code}: {err}")
        original, node.directory = node.directory, copy
        node.start()
        require(node.process.wait(timeout=60) != 0, "a server started on a copy")
        require("is a copy of node 2 of group 100" in node.log_text(), node.log_text()[-300:])
        node.process = None
        node.directory = original
        node.start()
        cluster.wait_replicas_agree(100)
        require(os.path.exists(os.path.join(copy, "engine", "COPY")), "the copy's engine is not marked")


@check(["rocksdb", "lmdb", "sqlite"], slow="it fills a disk")
def a_full_disk_refuses_puts_and_takes_deletes(engine):
    own_mounts()
    with Cluster(engine, groups=(100,), replicas=1, controllers=1, shards=1) as cluster:
        node = cluster.group(100)[0]
        os.mkdir(node.directory)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=250m", "tmpfs", node.directory], check=True)
        try:
            cluster.up()
            value = random.Random(7).randbytes(500_000).hex()  # does not compress to much less than it is
            stored = 0
            for number in range(400):
                code, _, err = cluster.cli("kv", "put", f"key{number}", "-", stdin=value.encode(), timeout=90)
                if code != 0:
                    break
                stored += 1
            require(code == 1 and "nearly full" in err, f"after {stored} values: exit {code}: {err}")
            require(stored > 10, f"only {stored} values of 1 MB found room in 250 MiB")
            require(cluster.get("key0") == value and cluster.get(f"key{stored - 1}") == value, "a value is lost")
            for number in range(stored):
                require(cluster.cli("kv", "delete", f"key{number}", timeout=90)[0] == 0, f"key{number} can't be deleted")

            def takes_again():
                return cluster.cli("kv", "put", "after", "room", timeout=90)[0] == 0
            wait_for("room again after the deletes", takes_again, 120, 1)
            node.kill()
            node.start()
            cluster.ready()
            require(cluster.get("after") == "room" and cluster.get("key0") is None, "contents differ")
        finally:
            node.kill()
            subprocess.run(["umount", node.directory], check=False)


@check(["rocksdb", "lmdb", "sqlite"], slow="it fills a disk", builds=["engine-crash-writer"])
def engine_out_of_space(engine):
    """A small file system of its own fills up: "no space", nothing synced is lost, and once there is room it goes on."""
    writer = built("engine-crash-writer")
    namespace = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
    with tempfile.TemporaryDirectory(prefix="flotilla-accept-") as place:
        mount = f"mount -t tmpfs -o size=128m none {place}"
        if subprocess.run(namespace + ["sh", "-c", mount], capture_output=True).returncode != 0:
            raise Skipped("a tmpfs can't be mounted here; run it as root, or where users may make namespaces")
        script = (
            f"{mount} && mkdir {place}/engine && head -c 24000000 /dev/zero > {place}/ballast && "
            f"head -c 24000000 /dev/zero > {place}/ballast2 && "
            f"exec timeout 60 {writer} fill {engine} {place}/engine 1 {place}/ballast")
        done = subprocess.run(
            namespace + ["sh", "-c", script], capture_output=True, timeout=300,
            env=dict(os.environ, SWIFT_BACKTRACE="enable=no"))
        answer = done.stdout.decode(errors="replace").strip() or done.stderr.decode(errors="replace").strip()[-300:]
        is_right = done.returncode == 0 and answer.startswith("right")
        require(is_right, f"exit {done.returncode}: {answer}")


@check(["all"], slow="it runs every benchmark")
def the_engine_benchmark_runs(engine):
    """Only that it runs: its figures on a loaded machine mean nothing."""
    done = subprocess.run(
        [os.path.join(ROOT, "scripts", "bench-engines"), "--quick"], capture_output=True, timeout=300,
        stdin=subprocess.DEVNULL)
    require(done.returncode == 0, f"exit {done.returncode}: {done.stderr.decode(errors='replace')[-500:]}")
    with tempfile.TemporaryDirectory(prefix="flotilla-accept-") as place:
        report = os.path.join(place, "report.html")
        code, out, err = flotilla(
            "bench", "engines", "--raw", "--work", "write,get,transfer", "--batch", "1", "--keys", "1000", "--rounds", "1",
            "--seconds", "0.02", "-w", "json", "--html", report)
        require(code == 0, f"exit {code}: {err}")
        text = json.dumps(json.loads(out))
        for word in ("rocksdb", "lmdb", "sqlite", "raw"):
            require(word in text, f"{word} is not in the JSON")
        with open(report) as file:
            page = file.read()
        require("<svg" in page and "http" not in page.replace("http://www.w3.org", ""), "the report is not self-contained")
        code, _, err = flotilla("bench", "engines", "--engines", "rockdb")
        require(code == 64 and "rocksdb" in err, f"a mistyped engine: {code} {err}")
        with open(os.path.join(place, "something"), "w"):
            pass
        code, _, err = flotilla("bench", "engines", "--work", "get", "--directory", place)
        require(code != 0 and "empty" in err, f"a directory that is in use: {code} {err}")
