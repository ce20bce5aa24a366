"""Clients that only take: connections without requests, requests without an end, answers that nobody reads."""

import functools
import http.client
import json
import os
import resource
import socket
import subprocess
import time

from checks import check
from harness import PROGRAM, Cluster, Skipped, free_ports, require, wait_for
from raw_http2 import RawConnection, field, message

# Above the soft limit that most systems give a process.
IDLE = 1200
SOFT = 1024
# What a node may grow by with the smallest budget: payloads are counted, and copies are made of them on their way.
BUDGET = 256
GROWTH = 2 * BUDGET


def allow_many_files():
    """This process holds the clients' ends."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * IDLE
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise Skipped(f"{wanted} open files are needed, and {hard} are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return hard


def limit_files(soft, hard):
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def start(node, limits, environment=None):
    require(node.process is None, f"{node.directory} runs already")
    with open(node.log, "ab") as log:
        node.process = subprocess.Popen(
            [PROGRAM] + node.arguments(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            env=dict(os.environ, **(environment or {})), preexec_fn=functools.partial(limit_files, *limits))


def small_cluster(engine, *more, limits=None):
    """One controller and one node that serves HTTP too, and is told more. The node, and its cluster that isn't up yet."""
    cluster = Cluster(engine, groups=(100,), replicas=1, controllers=1, shards=2)
    for node, port in zip(cluster.nodes, free_ports(len(cluster.nodes))):
        node.http = f"127.0.0.1:{port}"
        words = node.arguments() + ["--http-port", str(port), *more]
        node.arguments = lambda engine=None, words=words: words
        if limits:
            node.start = functools.partial(start, node, limits)
    return cluster.group(100)[0], cluster


def connect(address):
    host, port = address.rsplit(":", 1)
    return socket.create_connection((host, int(port)), timeout=10)


def crowd(address, count=IDLE, say=None):
    """So many connections that say so much and no more. Some may be shown out at once."""
    connections = []
    for number in range(count):
        try:
            connection = connect(address)
            connections.append(connection)
            if say:
                connection.sendall(say(number))
        except OSError:
            pass
    return connections


def close(connections):
    for connection in connections:
        connection.close()


def count_closed(connections):
    """How many the other side has closed."""
    closed = 0
    for connection in connections:
        connection.setblocking(False)
        try:
            while connection.recv(65536):
                pass
            closed += 1
        except BlockingIOError:
            pass
        except OSError:
            closed += 1
    return closed


def ask(address, path, timeout=5):
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def require_healthy(node, what):
    require(node.process.poll() is None, f"{what}: the node ended with {node.process.poll()}: {node.log_text()[-500:]}")
    for _ in range(5):
        began = time.monotonic()
        try:
            status, body = ask(node.http, "/healthz")
        except (OSError, http.client.HTTPException) as error:
            require(False, f"{what}: /healthz: {error!r}")
        require(status == 200 and body == b"ok\n", f"{what}: /healthz answered {status}: {body!r}")
        took = time.monotonic() - began
        require(took < 2, f"{what}: /healthz took {took:.1f} s")


def require_works(cluster, node, what, seconds=10):
    require_healthy(node, what)
    cluster.run("kv", "put", "key", what, "--timeout", str(seconds), timeout=seconds + 30)
    found = cluster.run("kv", "get", "key", "--timeout", str(seconds), timeout=seconds + 30)
    require(found == what.encode() + b"\n", f"{what}: the value is {found!r}")


def open_files(node):
    return len(os.listdir(f"/proc/{node.process.pid}/fd"))


def resident(node):
    """MiB."""
    with open(f"/proc/{node.process.pid}/status") as file:
        line = next(line for line in file if line.startswith("VmRSS:"))
    return int(line.split()[1]) >> 10


class Growth:
    """The most that a node has grown by, as seen at the looks."""

    def __init__(self, node):
        self.node, self.before, self.most = node, resident(node), 0

    def look(self):
        self.most = max(self.most, resident(self.node) - self.before)

    def require_bound(self, what):
        self.look()
        require(self.most <= GROWTH, f"{what}: the node grew by {self.most} MiB from {self.before} MiB; bound {GROWTH}")


def idle_connections(engine, limits):
    node, cluster = small_cluster(engine, limits=limits)
    with cluster.up():
        controller = cluster.group(0)[0]
        for address in (node.address, node.http, controller.address):
            connections = crowd(address)
            try:
                require(len(connections) > IDLE // 2, f"{len(connections)} connections could be opened")
                require_works(cluster, node, f"{len(connections)} idle connections to {address}")
                if limits[1] == SOFT:
                    require(open_files(node) < SOFT, f"{open_files(node)} files are open")
                if address == node.http:
                    wait_for(
                        "silent connections to be closed", lambda: count_closed(connections) == len(connections), 30,
                        0.5)
            finally:
                close(connections)
        require_works(cluster, node, "afterwards")
        require(controller.process.poll() is None, "the controller has ended")


@check()
def a_node_survives_more_idle_connections_than_its_soft_limit(engine):
    idle_connections(engine, (SOFT, allow_many_files()))


@check(["rocksdb"])
def a_node_survives_more_idle_connections_than_its_hard_limit(engine):
    allow_many_files()
    idle_connections(engine, (SOFT, SOFT))


@check()
def half_sent_requests_do_not_block_health(engine):
    allow_many_files()
    node, cluster = small_cluster(engine)
    with cluster.up():
        halves = (
            b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Unfinished: ",
            b"POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\nhalf",
            b"GET /heal",
        )
        connections = crowd(node.http, say=lambda number: halves[number % len(halves)])
        try:
            require_works(cluster, node, f"{len(connections)} half requests")
            wait_for("half requests to be closed", lambda: count_closed(connections) == len(connections), 30, 0.5)
        finally:
            close(connections)
        # A head without an end.
        with connect(node.http) as connection:
            try:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n")
                for number in range(64):
                    connection.sendall(b"X-Long-%d: " % number + b"x" * 4096 + b"\r\n")
            except OSError:
                pass
            wait_for("a head that is too long to be refused", lambda: count_closed([connection]) == 1, 30, 0.2)
        # One request after another over one connection, as before.
        kept = http.client.HTTPConnection(node.http, timeout=5)
        for _ in range(20):
            kept.request("GET", "/healthz")
            answer = kept.getresponse()
            require(answer.status == 200 and answer.read() == b"ok\n", "a kept connection")
        kept.close()
        require_healthy(node, "afterwards")


@check(["rocksdb"])
def unfinished_messages_stay_within_the_budget(engine):
    node, cluster = small_cluster(engine, "--memory-budget", str(BUDGET))
    with cluster.up():
        require_works(cluster, node, "before")
        growth = Growth(node)
        unfinished = memoryview(message(b"\0" * (15 << 20), announced=16 << 20))
        connections = [RawConnection(node.address) for _ in range(8)]
        try:
            pending = []
            for connection in connections:
                for number in range(5):
                    path = "/flotilla.v1.Kv/Session" if number % 2 else "/flotilla.v1.Kv/Call"
                    pending.append([connection, connection.call(path), unfinished])
            end = time.monotonic() + 12
            while time.monotonic() < end and any(connection.is_open for connection in connections):
                for row in pending:
                    connection, stream, rest = row
                    row[2] = rest[connection.send(stream, rest):]
                for connection in connections:
                    connection.pump(0.01)
                growth.look()
            require_works(cluster, node, "unfinished messages", seconds=60)
            growth.require_bound("40 unfinished messages")
        finally:
            close(connections)
        wait_for("room again", lambda: held(node) < 1 << 20, 60, 0.5)
        require_works(cluster, node, "afterwards")


@check(["rocksdb"])
def unread_answers_stay_within_the_budget(engine):
    node, cluster = small_cluster(engine, "--memory-budget", str(BUDGET))
    with cluster.up():
        cluster.run("kv", "put", "large", "-", stdin=b"x" * (8 << 20), timeout=120)
        cluster.run("kv", "get", "large", timeout=120)
        growth = Growth(node)
        get = field(10, field(1, b"large"))
        connections = [RawConnection(node.address, window=0) for _ in range(10)]
        try:
            for connection in connections:
                # As calls of their own, and as requests of sessions.
                for _ in range(10):
                    connection.send(connection.call("/flotilla.v1.Kv/Call"), message(get), is_last=True)
                session = b"".join(field(1, field(1, number + 1) + get) for number in range(10))
                connection.send(connection.call("/flotilla.v1.Kv/Session"), message(session))
            end = time.monotonic() + 8
            while time.monotonic() < end:
                for connection in connections:
                    connection.pump(0.02)
                growth.look()
            # A client that is told to come back does so.
            require_works(cluster, node, "unread answers", seconds=60)
            growth.require_bound("200 unread answers of 8 MiB")
        finally:
            close(connections)
        wait_for("room again", lambda: held(node) < 1 << 20, 60, 0.5)
        value = cluster.run("kv", "get", "large", timeout=120)
        require(value == b"x" * (8 << 20) + b"\n", "the large value differs")


@check(["rocksdb"])
def raft_messages_in_pieces_stay_within_the_budget(engine):
    node, cluster = small_cluster(engine, "--memory-budget", str(BUDGET))
    with cluster.up():
        require_works(cluster, node, "before")
        growth = Growth(node)
        with open(os.path.join(node.directory, "FLOTILLA")) as file:
            cluster_id = bytes.fromhex(json.load(file)["clusterId"])
        piece = field(1, 100) + field(2, b"\0" * (256 << 10)) + field(3, 1)
        frame = message(field(1, cluster_id) + field(2, piece) + field(3, b"127.0.0.1:1"))
        connections = [RawConnection(node.address) for _ in range(10)]
        try:
            # 60 MiB over each, without a last piece.
            flood = memoryview(frame * 240)
            pending = [[connection, connection.call("/flotilla.v1.Peer/Raft"), flood] for connection in connections]
            end = time.monotonic() + 12
            while time.monotonic() < end and any(connection.is_open for connection in connections):
                for row in pending:
                    connection, stream, rest = row
                    row[2] = rest[connection.send(stream, rest):]
                for connection in connections:
                    connection.pump(0.01)
                growth.look()
            require_works(cluster, node, "Raft messages in pieces", seconds=60)
            growth.require_bound("10 Raft messages of 60 MiB in pieces")
        finally:
            close(connections)
        wait_for("room again", lambda: held(node) < 1 << 20, 60, 0.5)
        require_works(cluster, node, "afterwards")


def held(node):
    """Bytes of the budget that are in use."""
    status, page = ask(node.http, "/metrics")
    require(status == 200, f"/metrics answered {status}")
    for line in page.decode().splitlines():
        if line.startswith("flotilla_memory_held_bytes "):
            return float(line.split()[1])
    require(False, "/metrics doesn't say what is held")


@check(alone=True)
def overload_slows_and_never_elects(engine):
    """More at once than can be worked off: everything is answered, later, and nobody loses office."""
    with Cluster(engine, groups=(100,), shards=8).up() as cluster:
        def term():
            return max(row["term"] for row in cluster.status(100) if row["role"] != "Offline")
        cluster.run("kv", "put", "warm", "up")
        before = term()
        for clients, size in ((1024, 64 << 10), (256, 1 << 20)):
            row = json.loads(cluster.run(
                "bench", "cluster", "--clients", str(clients), "--value-size", str(size), "--seconds", "4",
                "--key-space", "1000", "--timeout", "120", "-w", "json", timeout=170))
            row = row[0] if isinstance(row, list) else row
            what = f"{clients} callers with {size >> 10} KiB"
            require(row["errors"] == 0 and row["operations"] >= clients, f"{what}: {row}")
            require(term() == before, f"{what}: the term went from {before} to {term()}")
