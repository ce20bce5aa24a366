"""Commands on stopped nodes that are interrupted, or find no room, leave what was there before, and can be repeated."""

import os
import random
import shutil
import signal
import subprocess

from checks import check
from harness import PROGRAM, Cluster, own_mounts, require
from restore_checks import stop

UNFINISHED = ".unfinished"
OTHER = {"rocksdb": "lmdb", "lmdb": "sqlite", "sqlite": "rocksdb"}
# How often a command may be done before its signal comes.
ATTEMPTS = 20


class Stopped:
    """A small cluster that is stopped, a backup of it, and the commands that make something of them."""

    def __init__(self, cluster, engine, value_bytes, values):
        cluster.up()
        draw = random.Random(7)
        cluster.put_many([(f"key{number}", draw.randbytes(value_bytes // 2).hex()) for number in range(values)])
        self.controller, self.group = cluster.group(0)[0].directory, cluster.group(100)[0].directory
        stop(cluster.nodes)
        self.cluster, self.engine = cluster, engine
        self.backup = os.path.join(cluster.path, "backup")
        cluster.run("backup", "create", "--from", self.controller, "--from", self.group, "--out", self.backup)

    def commands(self):
        """What is made, by name: the words of a command that makes it in a directory."""
        def convert(out):
            # Converting changes the original.
            copy = os.path.join(self.cluster.path, "original")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(self.group, copy)
            return ["snapshot", "convert", "--from", copy, "--to", out, "--engine", OTHER[self.engine]]

        addresses = ",".join(self.cluster.addresses[100])
        return {
            "save": lambda out: ["snapshot", "save", "--from", self.group, "--out", out],
            "checkpoint": lambda out: ["snapshot", "checkpoint", "--from", self.group, "--to", out],
            "convert": convert,
            "backup": lambda out: [
                "backup", "create", "--from", self.controller, "--from", self.group, "--out", out],
            "restore": lambda out: [
                "snapshot", "restore", "--from", self.backup, "--out", out, "--controllers", self.cluster.endpoints,
                "--group", f"100={addresses}", "--engine", self.engine],
        }


def interrupted(words, out, number):
    """Sends a signal once the command has begun to make something; its exit code, and what it said."""
    tool = subprocess.Popen([PROGRAM, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while tool.poll() is None and not os.path.exists(os.path.join(out, UNFINISHED)):
        pass
    tool.send_signal(number)
    err = tool.communicate(timeout=60)[1].decode()
    return tool.returncode, err


@check(["rocksdb", "lmdb", "sqlite"])
def an_interrupted_command_on_stopped_nodes_leaves_nothing(engine):
    with Cluster(engine, groups=(100,), replicas=1, controllers=1, shards=4) as cluster:
        stopped = Stopped(cluster, engine, 20_000, 1_500)
        for name, words in stopped.commands().items():
            out = os.path.join(cluster.path, f"out-{name}")
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGKILL):
                # An empty directory stays, one that was missing doesn't come.
                is_there = number == signal.SIGINT
                for _ in range(ATTEMPTS):
                    shutil.rmtree(out, ignore_errors=True)
                    if is_there:
                        os.mkdir(out)
                    code, err = interrupted(words(out), out, number)
                    if code != 0:
                        break
                if number == signal.SIGKILL:
                    require(code == -signal.SIGKILL, f"{name}, killed: exit {code}: {err}")
                    continue
                require(code == 128 + number, f"{name}, signal {number}: exit {code}: {err}")
                said = err.strip().splitlines()
                require(said[-1:] == ["flotilla: interrupted; nothing was kept"], f"{name}: it says {err}")
                require(not any("no such file" in line.lower() for line in said), f"{name}: it says {err}")
                left = os.listdir(out) if os.path.exists(out) else None
                require(left == ([] if is_there else None), f"{name}, signal {number}, left {left}")
            # After kill -9 too the same command succeeds.
            code, _, err = cluster.cli(*words(out), timeout=120)
            require(code == 0, f"{name}, repeated: exit {code}: {err}")
            require(UNFINISHED not in os.listdir(out), f"{name}, repeated, left {os.listdir(out)}")
            code, _, err = cluster.cli(*words(out), timeout=120)
            require(code == 1 and "is not empty" in err, f"{name}, over what is there: exit {code}: {err}")


@check(["rocksdb", "lmdb", "sqlite"], slow="it fills a disk")
def a_command_on_stopped_nodes_without_room_leaves_nothing(engine):
    own_mounts()
    with Cluster(engine, groups=(100,), replicas=1, controllers=1, shards=4) as cluster:
        stopped = Stopped(cluster, engine, 20_000, 1_500)
        for name, words in stopped.commands().items():
            small = os.path.join(cluster.path, f"small-{name}")
            os.mkdir(small)
            out = os.path.join(small, "out")

            def mount(size):
                subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", small], check=True)

            mount("8m")
            try:
                code, _, err = cluster.cli(*words(out), timeout=120)
                require(code == 1 and "no space left" in err, f"{name} without room: exit {code}: {err}")
                require(not os.listdir(small), f"{name} without room left {os.listdir(small)}")
                subprocess.run(["umount", small], check=True)
                mount("400m")
                code, _, err = cluster.cli(*words(out), timeout=120)
                require(code == 0, f"{name} with room: exit {code}: {err}")
            finally:
                subprocess.run(["umount", small], check=False)
