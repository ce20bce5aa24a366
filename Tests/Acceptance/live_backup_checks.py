"""Snapshots and backups of clusters that go on serving."""

import json
import os
import random
import re
import select
import signal
import socket
import subprocess
import threading
import time

from checks import check
from harness import PROGRAM, Cluster, Writers, free_ports, own_mounts, require, wait_for
from restore_checks import checksums, inspect, restore


class Proxy:
    """A TCP proxy that cuts a connection once so many bytes have come back over it, or falls silent then."""

    def __init__(self, target, limits, silent=False):
        host, port = target.rsplit(":", 1)
        self.target, self.limits, self.silent = (host, int(port)), list(limits), silent
        self.cuts = self.carried = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.carry, args=(client,), daemon=True).start()

    def carry(self, client):
        with client, socket.create_connection(self.target) as server:
            came, limit = 0, None
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    try:
                        data = ready.recv(65536)
                    except OSError:
                        return
                    if not data:
                        return
                    if ready is server:
                        came += len(data)
                        self.carried += len(data)
                        if limit is None and came > 16384 and self.limits:
                            limit = self.limits.pop(0)  # the first of a connection that brings a file
                        if limit is not None and came > limit:
                            self.cuts += 1
                            if self.silent:
                                time.sleep(60)
                            return
                    try:
                        (server if ready is client else client).sendall(data)
                    except OSError:
                        return

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        self.listener.close()


def save(cluster, endpoint, out, *more, timeout=60):
    return cluster.cli("snapshot", "save", "--endpoint", endpoint, "--out", out, *more, timeout=timeout)


def verify(cluster, path):
    code, out, err = cluster.cli("snapshot", "verify", path)
    require(code == 0 and b": good; " in out, f"verify {path}: exit {code}: {out} {err}")


def values(cluster, archive, *more):
    """Keys and values in an archive."""
    rows = {}
    for line in cluster.run("snapshot", "scan", archive, "-w", "json", *more).decode().splitlines():
        row = json.loads(line)
        rows[row["key"]] = row["value"]
    return rows


def require_acknowledged(contents, acknowledged):
    """What was acknowledged before is in, in order; more may be."""
    for number, count in enumerate(acknowledged):
        value = contents.get(f"writer{number}", "")
        wanted = "".join(f"{item};" for item in range(count))
        require(value.startswith(wanted), f"writer{number}: {count} items were acknowledged, in it are {value[-40:]!r}")
        items = value.split(";")[:-1]
        require(items == [str(n) for n in range(len(items))], f"writer{number}: items out of order: {value[-60:]!r}")


@check(["mixed"])
def a_live_node_is_saved_under_writes(engine):
    with Cluster(engine, groups=(100,), shards=4).up() as cluster:
        keys = {f"key{number}": "v" * 1000 for number in range(2000)}
        cluster.put_many(list(keys.items()))
        with Writers(cluster, 4) as writers:
            wait_for("writes", lambda: writers.total() > 20)
            for node in cluster.group(100):
                out = os.path.join(cluster.path, f"saved-{node.number}")
                before = list(writers.acknowledged)
                report = json.loads(cluster.run(
                    "snapshot", "save", "--endpoint", node.address, "--out", out, "-w", "json"))
                verify(cluster, out)
                group = inspect(cluster, out)["groups"][0]
                served = report["served"][0]
                require(group["applied"]["index"] == served["appliedIndex"], f"{report} and {group['applied']}")
                require(served["node"] == node.number and served["servedAs"] in ("leader", "follower"), f"{served}")
                contents = values(cluster, out)
                require(all(contents.get(key) == keys[key] for key in keys), "earlier keys are missing")
                if served["servedAs"] == "leader":
                    require_acknowledged(contents, before)
            leader = cluster.leader(100)
            out = os.path.join(cluster.path, "led")
            before = list(writers.acknowledged)
            text = cluster.run("snapshot", "save", "--endpoint", leader.address, "--out", out).decode()
            require(f"(leader, node {leader.number})" in text, f"the output names no leader: {text}")
            require_acknowledged(values(cluster, out), before)
        writers.verify()
        # The controller too.
        out = os.path.join(cluster.path, "controller")
        cluster.run("snapshot", "save", "--endpoint", cluster.addresses[0][0], "--out", out)
        verify(cluster, out)
        require(inspect(cluster, out)["groups"][0]["role"] == "controller", "it isn't the controller")
        # A limit is kept.
        out = os.path.join(cluster.path, "slow")
        start = time.monotonic()
        cluster.run("snapshot", "save", "--endpoint", leader.address, "--out", out, "--rate", "1MiB")
        took = time.monotonic() - start
        size = sum(os.path.getsize(os.path.join(path, name)) for path, _, names in os.walk(out) for name in names)
        require(took > size / (1 << 20) * 0.8, f"{size} bytes came in {took:.1f} s at 1 MiB/s")


@check(["rocksdb"], slow="it waits until a silent connection is given up")
def a_save_goes_on_where_the_connection_broke(engine):
    with Cluster(engine, groups=(100,), shards=1).up() as cluster:
        cluster.put_many([(f"key{number}", "v" * 4000) for number in range(1500)])
        leader = cluster.leader(100)
        whole = os.path.join(cluster.path, "whole")
        require(save(cluster, leader.address, whole)[0] == 0, "a plain save failed")
        for silent in (False, True):
            broken = os.path.join(cluster.path, f"broken-{silent}")
            # In the middle of files: a chunk has 1 MiB.
            limits = [600_000] if silent else [600_000, 700_000, 300_000]
            with Proxy(leader.address, limits, silent) as proxy:
                code, _, err = save(cluster, proxy.address, broken, timeout=90)
                require(code == 0, f"over a connection that breaks: exit {code}: {err}")
                # A connection that was opened beside another may bring little, and not reach its limit.
                require(proxy.cuts >= min(2, len(limits)), f"{proxy.cuts} cuts")
                require("was taken up again" in err, f"it says nothing of it: {err}")
            verify(cluster, broken)
            files = {os.path.relpath(path, whole): sum for path, sum in checksums(whole).items() if "/group-100/" in path}
            again = {os.path.relpath(path, broken): sum for path, sum in checksums(broken).items()
                     if "/group-100/" in path}
            require([s for n, s in sorted(files.items()) if n.endswith("chunk")]
                    == [s for n, s in sorted(again.items()) if n.endswith("chunk")], "files differ")


@check(["rocksdb", "lmdb", "sqlite"])
def a_move_goes_on_where_the_connection_broke(engine):
    with Cluster(engine, replicas=1, shards=1) as cluster:
        source, target = cluster.addresses[100][0], cluster.addresses[101][0]
        # Everybody reaches group 100 through the proxy; only what brings a file is cut.
        with Proxy(source, [3_000_000, 2_000_000]) as proxy:
            cluster.addresses[100] = [proxy.address]
            node = cluster.group(100)[0]
            plain = node.arguments()
            node.arguments = lambda: plain + ["--listen", source]
            cluster.start()
            cluster.run("controller", "join", f"100={proxy.address}", timeout=60)
            cluster.ready()
            keys = {f"key{number}": os.urandom(2000).hex() for number in range(2000)}
            cluster.put_many(list(keys.items()))
            before = proxy.carried
            cluster.run("controller", "join", f"101={target}")
            if cluster.query()["shards"] != [101]:
                cluster.move(0, 101)
            cluster.wait_settled(120)
            require(cluster.query()["shards"] == [101], f"the shard is at {cluster.query()['shards']}")
            # Another connection may take a limit, and not reach it.
            require(proxy.cuts >= 1, f"{proxy.cuts} cuts")
            carried = proxy.carried - before
            # As files 8.2 to 9.7 MB, and what had come before the cuts would come again.
            require(carried < 10_200_000, f"{carried} bytes were carried for 8 MB: it began anew")
        require(cluster.contents() == keys, "contents differ")


def live_backup(cluster, out, *more, timeout=120):
    return cluster.cli("backup", "create", "--controllers", cluster.endpoints, "--out", out, *more, timeout=timeout)


@check(["mixed"])
def a_serving_cluster_is_backed_up_and_moves_wait(engine):
    with Cluster(engine, shards=8) as old, Cluster("rocksdb", shards=8) as new:
        old.up()
        keys = {f"key{number}": "v" * 1000 for number in range(4000)}
        old.put_many(list(keys.items()))
        out = os.path.join(old.path, "backup")
        with Writers(old, 4) as writers:
            wait_for("writes", lambda: writers.total() > 20)
            before = list(writers.acknowledged)
            shards = old.query()["shards"]
            target = 101 if shards[0] == 100 else 100
            tool = subprocess.Popen(
                [PROGRAM, "backup", "create", "--controllers", old.endpoints, "--out", out, "--rate", "150KiB"],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            try:
                wait_for("the hold", lambda: old.query().get("hold"))
                code, _, err = old.cli("controller", "move", "0", str(target))
                require(code == 0 and "waits: moves are held by backup create" in err, f"move: exit {code}: {err}")
                config = old.query()
                require(config["hold"]["waiting"] == [{"shard": 0, "to": target}], f"hold: {config['hold']}")
                require(not config["moves"], f"a move has begun: {config['moves']}")
                text = old.run("controller", "query").decode()
                require(re.search(r"shard 0: .*\(waits to move to group", text), f"query says nothing: {text}")
                for words in (["controller", "status"], ["group", "status"]):
                    require("waits: moves are held by" in old.cli(*words)[2], f"{' '.join(words)} says nothing")
                require(tool.poll() is None, "the backup was over too soon for this check")
                # A second one waits its turn, and says for whom.
                code, _, err = live_backup(old, os.path.join(old.path, "second"))
                require(code == 69 and "held already, by backup create" in err, f"a second: exit {code}: {err}")
                said, err = tool.communicate(timeout=120)
                require(tool.returncode == 0, f"backup: exit {tool.returncode}: {err.decode()}")
            finally:
                if tool.poll() is None:
                    tool.kill()
            during = writers.total()
            wait_for("the move to go on", lambda: old.query()["shards"][0] == target)
            old.wait_settled()
            wait_for("more writes", lambda: writers.total() > during)
        writers.verify()
        verify(old, out)
        require(inspect(old, out)["kind"] == "backup", "it is no backup")
        code, _, err = restore(out, new.path, new, "rocksdb")
        require(code == 0, f"restore: exit {code}: {err}")
        new.start()
        new.ready()
        contents = new.contents()
        require(all(contents.get(key) == keys[key] for key in keys), "keys are missing in the restored cluster")
        require_acknowledged(contents, before)
        new.wait_settled()


@check(["mixed"])
def a_later_backup_takes_what_has_not_changed_from_an_earlier_one(engine):
    with Cluster(engine, shards=8).up() as cluster, Cluster("rocksdb", groups=(100,), shards=2) as other:
        keys = {f"key{number}": "v" * 500 for number in range(2000)}
        cluster.put_many(list(keys.items()))
        first, second = (os.path.join(cluster.path, name) for name in ("first", "second"))
        # What is under way ends first.
        wanted = [101 if gid == 100 else 100 for gid in cluster.query()["shards"]]
        for shard, gid in enumerate(wanted):
            cluster.move(shard, gid)
        code, _, err = live_backup(cluster, first)
        require(code == 0, f"the first: exit {code}: {err}")
        verify(cluster, first)
        require(not cluster.query()["moves"] and cluster.query()["shards"] == wanted, "a move was given up")
        require(values(cluster, first) == keys, "contents differ")
        cluster.run("kv", "put", "key7", "changed")
        code, text, err = live_backup(cluster, second, "--since", first, "-w", "json")
        require(code == 0, f"the second: exit {code}: {err}")
        report = json.loads(text)
        require(report["familiesReused"] >= 7, f"reused: {report}")
        require(report["bytesReused"] > 3 * report["bytesPulled"], f"little was reused: {report}")
        require("reused" in err, f"it doesn't say so: {err}")
        before = checksums(second)
        subprocess.run(["rm", "-rf", first], check=True)
        require(checksums(second) == before, "it doesn't stand alone")
        verify(cluster, second)
        require(values(cluster, second)["key7"] == "changed", "the change isn't in it")
        # Of another cluster nothing is taken.
        other.up()
        code, _, err = live_backup(other, os.path.join(other.path, "no"), "--since", second)
        require(code == 1 and "is of cluster" in err, f"another cluster's: exit {code}: {err}")
        require(not os.path.exists(os.path.join(other.path, "no")), "something was left")


@check(["mixed"], slow="it waits until a hold of a minute has expired")
def a_killed_backup_leaves_nothing_that_looks_good_and_moves_go_on(engine):
    with Cluster(engine, shards=4).up() as cluster:
        cluster.put_many([(f"key{number}", "v" * 1000) for number in range(4000)])
        out = os.path.join(cluster.path, "backup")
        tool = subprocess.Popen(
            [PROGRAM, "backup", "create", "--controllers", cluster.endpoints, "--out", out, "--rate", "200KiB"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for("files", lambda: any(
            name.endswith("chunk") for path, _, names in os.walk(out) for name in names if "/group-" in path))
        hold = cluster.query()["hold"]
        shards = cluster.query()["shards"]
        target = 101 if shards[0] == 100 else 100
        tool.kill()
        tool.wait()
        cluster.move(0, target)
        require(cluster.cli("snapshot", "verify", out)[0] != 0, "what is left verifies as good")
        require(cluster.cli("snapshot", "inspect", out)[0] != 0, "what is left is taken for an archive")
        code, _, err = restore(out, os.path.join(cluster.path, "new"), cluster, "rocksdb")
        require(code != 0, "a cluster was made of it")
        code, _, err = live_backup(cluster, out)
        require(code == 69 and "moves are held already" in err, f"again under the hold: exit {code}: {err}")
        require(cluster.query()["shards"][0] != target, "the move began under the hold")
        left = hold["untilMs"] / 1000 - time.time()
        require(0 < left < 61, f"the hold ends in {left} s")
        wait_for("the hold to expire", lambda: "hold" not in cluster.query(), 120, 1)
        wait_for("the move", lambda: cluster.query()["shards"][0] == target)
        cluster.wait_settled()
        # What is left goes with the next one into the same directory.
        code, _, err = live_backup(cluster, out)
        require(code == 0, f"the next backup: exit {code}: {err}")
        require(".unfinished" not in os.listdir(out), f"something is left: {os.listdir(out)}")
        verify(cluster, out)
        # One that is interrupted tidies up.
        out = os.path.join(cluster.path, "interrupted")
        tool = subprocess.Popen(
            [PROGRAM, "backup", "create", "--controllers", cluster.endpoints, "--out", out, "--rate", "200KiB"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_for("its files", lambda: os.path.isdir(os.path.join(out, ".unfinished", "group-100")))
        tool.send_signal(signal.SIGINT)
        err = tool.communicate(timeout=60)[1].decode()
        require(tool.returncode == 130 and "interrupted" in err, f"interrupted: exit {tool.returncode}: {err}")
        require(not os.path.exists(out), "an interrupted backup left something")
        require("hold" not in cluster.query(), "an interrupted backup left its hold")


@check(["rocksdb"], slow="it waits until a hold of a minute has expired")
def a_backup_that_lost_its_hold_is_not_sealed(engine):
    with Cluster(engine, shards=4).up() as cluster:
        cluster.put_many([(f"key{number}", "v" * 1000) for number in range(4000)])
        out = os.path.join(cluster.path, "backup")
        tool = subprocess.Popen(
            [PROGRAM, "backup", "create", "--controllers", cluster.endpoints, "--out", out, "--rate", "200KiB"],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        wait_for("files", lambda: any(
            name.endswith("chunk") for path, _, names in os.walk(out) for name in names if "/group-" in path))
        try:
            tool.send_signal(signal.SIGSTOP)
            wait_for("the hold to expire", lambda: "hold" not in cluster.query(), 120, 1)
            target = 101 if cluster.query()["shards"][0] == 100 else 100
            cluster.move(0, target)
            cluster.wait_settled()
        finally:
            tool.send_signal(signal.SIGCONT)
        err = tool.communicate(timeout=60)[1].decode()
        require(tool.returncode == 1 and "the hold on moves has ended" in err, f"exit {tool.returncode}: {err}")
        require(not os.path.exists(out), "it was kept")


@check(["mixed"])
def a_backup_goes_on_when_a_leader_dies(engine):
    with Cluster(engine, groups=(100,), shards=4).up() as cluster:
        keys = {f"key{number}": "v" * 1000 for number in range(4000)}
        cluster.put_many(list(keys.items()))
        out = os.path.join(cluster.path, "backup")
        leader = cluster.leader(100)
        tool = subprocess.Popen(
            [PROGRAM, "backup", "create", "--controllers", cluster.endpoints, "--out", out, "--rate", "1MiB"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        wait_for("its files", lambda: any(
            name.endswith("chunk") for path, _, names in os.walk(out) for name in names if "/group-" in path))
        leader.kill()
        said, err = tool.communicate(timeout=120)
        require(tool.returncode == 0, f"backup: exit {tool.returncode}: {err.decode()}")
        require(b"the copy of group 100 begins again" in err, f"it says nothing: {err.decode()}")
        require(f"node {leader.number})".encode() not in said.split(b"group 100")[1], f"taken from the dead: {said}")
        verify(cluster, out)
        contents = values(cluster, out)
        require(all(contents.get(key) == keys[key] for key in keys), "keys are missing")


@check(["rocksdb"], slow="it fills a disk")
def a_copy_that_does_not_fit_is_refused(engine):
    own_mounts()
    with Cluster(engine, groups=(100,), replicas=1, controllers=1, shards=1) as cluster:
        node = cluster.group(100)[0]
        small = os.path.join(cluster.path, "small")
        for path, size in ((node.directory, "250m"), (small, "2m")):
            os.mkdir(path)
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=True)
        try:
            cluster.up()
            value = random.Random(7).randbytes(500_000).hex()
            for number in range(4):
                cluster.run("kv", "put", f"key{number}", "-", stdin=value.encode())
            out = os.path.join(small, "saved")
            code, _, err = save(cluster, node.address, out)
            require(code == 1 and "has room for" in err and not os.path.exists(out), f"no room here: exit {code}: {err}")
            # While it takes writes it may have no room for a copy.
            for number in range(4, 60):
                cluster.run("kv", "put", f"key{number}", "-", stdin=value.encode())
                out = os.path.join(cluster.path, f"saved-{number}")
                code, _, err = save(cluster, node.address, out)
                if code != 0:
                    break
            require(code == 1 and "a copy takes about" in err, f"no room there: exit {code}: {err}")
            require(not os.path.exists(out), "a refused save left something")
            cluster.run("kv", "put", "after", "v")
        finally:
            node.kill()
            for path in (node.directory, small):
                subprocess.run(["umount", path], check=False)


@check(["rocksdb"], slow="it waits for calls that nobody answers")
def a_live_save_says_in_one_line_what_is_wrong(engine):
    with Cluster(engine, groups=(100,), shards=2).up() as cluster:
        cluster.run("kv", "put", "key", "v")
        node = cluster.group(100)[0]
        port = free_ports(1)[0]
        full = os.path.join(cluster.path, "full")
        os.mkdir(full)
        with open(os.path.join(full, "file"), "w"):
            pass
        fresh = os.path.join(cluster.path, "fresh")

        def fails(words, code, text):
            got, _, err = cluster.cli(*words)
            lines = err.strip().splitlines()
            require(got == code and text in err, f"{' '.join(words)}: exit {got}: {err}")
            require(code == 64 or len(lines) == 1, f"{' '.join(words)}: more than one line: {err}")
            require(not os.path.exists(fresh), f"{' '.join(words)} left something")

        save = ["snapshot", "save", "--out"]
        backup = ["backup", "create", "--out"]
        fails(save + [fresh, "--endpoint", f"127.0.0.1:{port}"], 69, f"no node answers at 127.0.0.1:{port}")
        fails(save + [fresh, "--endpoint", "127.0.0.1"], 64, "--endpoint takes HOST:PORT")
        fails(save + [fresh, "--endpoint", "no.such.host.invalid:1"], 69, "no node answers at no.such.host.invalid:1")
        fails(save + [full, "--endpoint", node.address], 1, "is not empty")
        fails(save + [fresh, "--endpoint", node.address, "--group", "7"], 2, "is of group 100, not of group 7")
        fails(save + [fresh, "--endpoint", node.address, "--rate", "fast"], 64, "--rate takes bytes per second")
        fails(save + [fresh], 64, "--endpoint")
        fails(backup + [fresh, "--controllers", f"127.0.0.1:{port}"], 69, "no controller answers")
        fails(backup + [full, "--controllers", cluster.endpoints], 1, "is not empty")
        fails(backup + [fresh, "--controllers", node.address], 69, "no controller answers")
        fails(backup + [fresh, "--controllers", cluster.endpoints, "--since", full], 1, "is not a snapshot or backup")
        # A node without its group.
        for other in cluster.group(100)[1:]:
            other.kill()
        # A follower believes in its leader until it has missed its heartbeats; then it stands, and nobody answers.
        wait_for("the quorum to be missed", lambda: any(
            row["role"] == "Candidate" for row in cluster.status(100) if row["address"] == node.address))
        fails(save + [fresh, "--endpoint", node.address], 69, "no quorum")
        code, _, err = live_backup(cluster, fresh)
        require(code == 69 and "group 100 can't be copied from its leader" in err, f"without a quorum: {code}: {err}")
        require(not os.path.exists(fresh), "a failed backup left something")
        require("hold" not in cluster.query(), "a failed backup left its hold")
