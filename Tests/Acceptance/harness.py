"""A cluster of real processes on loopback, for scripts/accept.

Every process is started here and stopped by its process id; no two checks have the same ports; every loop is
bounded; everything lives in one temporary directory that is removed at the end.
"""

import ctypes
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.path.join(ROOT, "output", "flotilla")
MIXED = ["rocksdb", "lmdb", "sqlite"]


# A directory that all checks of a run have together; the runner makes it.
shared = None


class Failure(Exception):
    pass


class Skipped(Exception):
    """The check can't be made here; the sentence says why."""


def require(condition, sentence):
    if not condition:
        raise Failure(sentence)


def build(products):
    """Builds what scripts/build doesn't make. The runner does it once, before the checks that are registered with it: two
    builds at once find SwiftPM's database locked."""
    if products:
        done = subprocess.run([os.path.join(ROOT, "scripts", "release"), *products], capture_output=True, timeout=3000)
        require(done.returncode == 0, f"{', '.join(products)} can't be built: {done.stderr.decode(errors='replace')[-500:]}")
        with open(os.path.join(shared, "built"), "w") as file:
            file.write(done.stdout.decode().strip())


def built(product):
    """The path of a program that the check is registered with."""
    try:
        with open(os.path.join(shared, "built")) as file:
            return os.path.join(file.read(), product)
    except FileNotFoundError:
        raise Failure(f"{product} was not built") from None


def own_mounts():
    """From here on, what this process mounts is seen by it and its children alone, and goes with them."""
    if os.geteuid() != 0:
        raise Skipped("mounting a small file system needs root")
    new_mount_namespace = 0x20000
    if ctypes.CDLL(None, use_errno=True).unshare(new_mount_namespace) != 0:
        raise Skipped(f"there can be no mounts of its own here: {os.strerror(ctypes.get_errno())}")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


def wait_for(what, probe, seconds=60.0, pause=0.05):
    """Waits until probe() answers something true, and returns that."""
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            last = probe()
            if last:
                return last
        except (Failure, ValueError, KeyError, IndexError) as error:
            last = error
        time.sleep(pause)
    raise Failure(f"after {seconds:.0f} s still waiting for {what} (last: {str(last)[:200]})")


def ports_below_the_systems():
    """Below the range from which the system takes ports for outgoing connections: a node that is killed must find its
    port free when it comes back."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
        lowest = int(file.read().split()[0])
    return (10240, lowest) if lowest > 12000 else (20000, 60000)


def is_free(port):
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


# What this process has given out. The name of a socket says so to other checks, also those of another run: the system
# has it for as long as this process lives, and in the network namespace that has the port.
_given = {}


def reserve(port):
    """False if somebody uses the port, or it was given out before."""
    claim = socket.socket(socket.AF_UNIX)
    try:
        # First: what somebody else has is not even tried.
        claim.bind(f"\0flotilla-accept-{port}")
    except OSError:
        claim.close()
        return False
    if not is_free(port):
        claim.close()
        return False
    _given[port] = claim
    return True


def free_ports(count):
    """Ports that nobody uses, and that were not given out before."""
    found = []
    for _ in range(10000):
        if len(found) == count:
            return found
        port = random.randrange(*ports_below_the_systems())
        if reserve(port):
            found.append(port)
    raise Failure("no free ports")


def free_base(groups=2, each=3):
    """A base port for `flotilla local`: controllers follow it, groups at +100, +200, …"""
    for _ in range(1000):
        base = random.randrange(*ports_below_the_systems()) // 1000 * 1000
        needed = [base + 100 * group + node for group in range(groups + 1) for node in range(each)]
        if base < 10240:
            continue
        found = []
        for port in needed:
            if not reserve(port):
                break
            found.append(port)
        else:
            return base
        for port in found:
            _given.pop(port).close()
    raise Failure("no free ports")


class Node:
    def __init__(self, cluster, gid, number, engine):
        self.cluster, self.gid, self.number, self.engine = cluster, gid, number, engine
        self.process = None
        name = f"controller-{number}" if gid == 0 else f"group-{gid}-{number}"
        self.directory = os.path.join(cluster.path, name)
        self.log = self.directory + ".log"

    @property
    def address(self):
        return self.cluster.addresses[self.gid][self.number]

    def arguments(self, engine=None):
        verb = ["controller", "serve"] if self.gid == 0 else ["group", "serve", "--gid", str(self.gid)]
        arguments = verb + [
            "--id", str(self.number), "--cluster", ",".join(self.cluster.addresses[self.gid]),
            "--db", self.directory, "--engine", engine or self.engine, "--retain", str(self.cluster.retain)]
        if self.gid == 0:
            arguments += ["--shards", str(self.cluster.shards)]
        else:
            arguments += ["--controllers", self.cluster.endpoints]
        return arguments

    def start(self, environment=None):
        require(self.process is None, f"{self.directory} runs already")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [PROGRAM] + self.arguments(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=dict(os.environ, **(environment or {})))

    def kill(self, how=signal.SIGKILL):
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(timeout=60)
            self.process = None

    def signal(self, number):
        self.process.send_signal(number)

    def log_text(self):
        with open(self.log, errors="replace") as log:
            return log.read()


class Cluster:
    def __init__(self, engine="rocksdb", groups=(100, 101), replicas=3, controllers=3, shards=8, retain=10000):
        self.path = tempfile.mkdtemp(prefix="flotilla-accept-")
        self.shards, self.retain = shards, retain
        ports = free_ports(controllers + replicas * len(groups))
        self.addresses = {0: [f"127.0.0.1:{ports.pop()}" for _ in range(controllers)]}
        for gid in groups:
            self.addresses[gid] = [f"127.0.0.1:{ports.pop()}" for _ in range(replicas)]
        self.endpoints = ",".join(self.addresses[0])
        self.nodes = [
            Node(self, gid, number, MIXED[number % 3] if engine == "mixed" else engine)
            for gid in self.addresses for number in range(len(self.addresses[gid]))]

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        # All are told to end before the first is waited for.
        for node in self.nodes:
            if node.process is not None:
                node.process.kill()
        for node in self.nodes:
            try:
                node.kill()
            except Exception:
                pass
        if kind is not None:
            for node in self.nodes:
                tail = "".join(open(node.log, errors="replace").readlines()[-int(os.environ.get("FLOTILLA_LOG_LINES", "8")):]) if os.path.exists(node.log) else ""
                print(f"--- {node.log}\n{tail}", file=sys.stderr)
        subprocess.run(["rm", "-rf", self.path], check=False)

    def group(self, gid):
        return [node for node in self.nodes if node.gid == gid]

    def start(self, environment=None):
        for node in self.nodes:
            if node.process is None:
                node.start(environment)

    def up(self, environment=None, join=True):
        try:
            self.start(environment)
            if join:
                for gid in self.addresses:
                    if gid:
                        self.run("controller", "join", f"{gid}={','.join(self.addresses[gid])}", timeout=60)
            self.ready()
        except BaseException:
            # `with Cluster().up()` has not been entered yet: nobody else would stop what runs.
            self.__exit__(*sys.exc_info())
            raise
        return self

    def ready(self):
        """Every shard is served and nothing is on the move."""
        wait_for("settled shards", lambda: self.settled(), 60)
        wait_for("answers of every shard", lambda: self.cli("kv", "scan", "--limit", "1", "--timeout", "5")[0] == 0, 60)

    def settled(self):
        config = self.query()
        return not config["moves"] and all(config["shards"])

    def cli(self, *arguments, stdin=None, timeout=60):
        done = subprocess.run(
            [PROGRAM, *arguments], input=stdin, capture_output=True, timeout=timeout,
            env=dict(os.environ, FLOTILLA_ENDPOINTS=self.endpoints))
        return done.returncode, done.stdout, done.stderr.decode(errors="replace")

    def run(self, *arguments, stdin=None, timeout=60):
        code, out, err = self.cli(*arguments, stdin=stdin, timeout=timeout)
        require(code == 0, f"flotilla {' '.join(arguments)}: exit {code}: {err.strip()[:300]}")
        return out

    def json(self, *arguments, timeout=60):
        return json.loads(self.run(*arguments, "-w", "json", timeout=timeout))

    def query(self):
        return self.json("controller", "query")

    def status(self, gid=None, exact=False):
        arguments = ["group", "status"] + (["--gid", str(gid)] if gid else []) + (["--exact"] if exact else [])
        return self.json(*arguments, timeout=120)

    def leader(self, gid):
        def probe():
            for row in self.status(gid):
                if row["role"] == "Leader" and self.group(gid)[row["id"]].process is not None:
                    return self.group(gid)[row["id"]]
            return None
        return wait_for(f"a leader of group {gid}", probe)

    def put_many(self, pairs):
        lines = "".join(f"put {key} {value}\n" for key, value in pairs).encode()
        out = self.run("kv", "batch", stdin=lines, timeout=120).decode().split("\n")
        require(out.count("OK") == len(pairs), f"{out.count('OK')} of {len(pairs)} puts were acknowledged")

    def get(self, key):
        code, out, err = self.cli("kv", "get", key)
        require(code in (0, 2), f"get {key}: exit {code}: {err.strip()}")
        return None if code == 2 else out[:-1].decode()

    def contents(self):
        pairs = self.json("kv", "scan", "--limit", "1000000", timeout=120)
        return {pair["key"]: pair["value"] for pair in pairs}

    def move(self, shard, gid):
        self.run("controller", "move", str(shard), str(gid))

    def wait_settled(self, seconds=60):
        wait_for("moves to end", self.settled, seconds)

    def hashes(self, gid):
        """For each node that answers: shard -> content hash."""
        return [
            {shard["shardId"]: shard["contentHash"] for shard in node["shards"]}
            for node in self.status(gid, exact=True) if node["role"] != "Offline"]

    def wait_replicas_agree(self, gid, count=3):
        def probe():
            found = self.hashes(gid)
            return len(found) == count and all(one == found[0] for one in found)
        wait_for(f"replicas of group {gid} to agree", probe, 60, 0.2)


class Writers:
    """Callers that append numbered items to a key each, one after another, until told to stop."""

    def __init__(self, cluster, count=16):
        self.cluster, self.count = cluster, count
        self.processes = []

    def __enter__(self):
        for number in range(self.count):
            process = subprocess.Popen(
                [PROGRAM, "kv", "batch", "--in-order", "--timeout", "60"], stdin=subprocess.PIPE,
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                env=dict(os.environ, FLOTILLA_ENDPOINTS=self.cluster.endpoints))
            self.processes.append(process)
        import threading
        self.stopping = threading.Event()
        self.acknowledged = [0] * self.count
        self.failed = [None] * self.count
        self.threads = [threading.Thread(target=self.work, args=(n,), daemon=True) for n in range(self.count)]
        for thread in self.threads:
            thread.start()
        return self

    def work(self, number):
        process = self.processes[number]
        for item in range(100000):
            if self.stopping.is_set():
                break
            process.stdin.write(f"append writer{number} {item};\n".encode())
            process.stdin.flush()
            answer = process.stdout.readline().decode().strip()
            if not answer.isdigit():
                self.failed[number] = answer or "(no answer)"
                break
            self.acknowledged[number] = item + 1
        process.stdin.close()

    def total(self):
        return sum(self.acknowledged)

    def __exit__(self, kind, value, trace):
        self.stopping.set()
        for thread in self.threads:
            thread.join(timeout=90)
        for process in self.processes:
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()

    def verify(self):
        """Every acknowledged item is there, in order, none twice."""
        require(not any(self.failed), f"a write failed: {[f for f in self.failed if f][:3]}")
        for number in range(self.count):
            value = self.cluster.get(f"writer{number}") or ""
            expected = "".join(f"{item};" for item in range(self.acknowledged[number]))
            require(
                value == expected,
                f"writer{number}: {self.acknowledged[number]} items acknowledged, value has {value.count(';')}: "
                f"…{value[-60:]!r}")
