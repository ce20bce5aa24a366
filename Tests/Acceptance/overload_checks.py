"""Clients that only take: connections without requests, requests without an end, answers that nobody reads."""

import functools
import http.client
import os
import resource
import socket
import subprocess
import time

from checks import check
from harness import PROGRAM, Cluster, Skipped, free_ports, require, wait_for

# Above the soft limit that most systems give a process.
IDLE = 1200
SOFT = 1024


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


def idle_connections(engine, limits):
    node, cluster = small_cluster(engine, limits=limits)
    with cluster.up():
        controller = cluster.group(0)[0]
        for address in (node.address, node.http, controller.address):
            connections = crowd(address)
            try:
                require(len(connections) > IDLE // 2, f"{len(connections)} connections could be opened")
                require_works(cluster, node, f"{len(connections)} idle connections to {address}")
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
