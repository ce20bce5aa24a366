"""The dashboard's API, and what nodes say over HTTP, on real processes. What a browser makes of it: Tests/Browser."""

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import urllib.parse

from checks import check
from harness import MIXED, PROGRAM, ROOT, Cluster, Failure, Node, free_base, free_ports, require, wait_for
from rpc import Session, append_at_leader


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        return json.loads(self.body)


def ask(address, path, method="GET", body=None, headers=None, timeout=30):
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
    try:
        connection.request(method, path, body=body, headers=headers or {})
        answer = connection.getresponse()
        return Answer(answer.status, dict((k.lower(), v) for k, v in answer.getheaders()), answer.read())
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"{method} http://{address}{path}: {error}") from error
    finally:
        connection.close()


class Dashboard:
    """A dashboard process, by default one that looks five times a second."""

    def __init__(self, endpoints, *options):
        self.words = [PROGRAM, "dashboard", "--controllers", endpoints, "--port", "0", "--update-interval", "200ms", *options]

    def __enter__(self):
        self.process = subprocess.Popen(
            self.words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        line = self.process.stdout.readline().decode().strip()
        if not line.startswith("dashboard: http://"):
            self.process.kill()
            _, err = self.process.communicate(timeout=60)
            require(False, f"the dashboard said {line!r} {err.decode()[:300]}")
        self.address = line.removeprefix("dashboard: http://")
        return self

    def __exit__(self, kind, value, trace):
        self.process.kill()
        self.process.communicate(timeout=60)

    def ask(self, path, **options):
        return ask(self.address, path, **options)

    def get(self, path):
        answer = self.ask(path)
        require(answer.status == 200, f"GET {path}: {answer.status}: {answer.body[:200]}")
        return answer.json()

    def state(self):
        return self.get("/api/dashboard")

    def wait(self, what, probe, seconds=60):
        return wait_for(what, lambda: probe(self.state()), seconds, 0.1)

    def move(self, shard, gid, **changes):
        headers = {
            "Origin": f"http://{self.address}", "Content-Type": "application/json", "X-Flotilla-Action": "move",
            "Sec-Fetch-Site": "same-origin"}
        for name, value in changes.items():
            name = name.replace("_", "-")
            headers.pop(name, None)
            if value is not None:
                headers[name] = value
        return self.ask(
            "/api/actions/move", method="POST", body=json.dumps({"shardId": shard, "groupId": gid}), headers=headers)


def nodes_of(state):
    topology = state["topology"]
    return topology["configCluster"]["nodes"] + [node for group in topology["shardGroups"] for node in group["nodes"]]


def error_of(answer, status, code):
    require(answer.status == status, f"status {answer.status}, not {status}: {answer.body[:200]}")
    require(answer.headers["content-type"].startswith("application/json"), f"{answer.headers}")
    error = answer.json()["error"]
    require(error["code"] == code and error["message"], f"{error}, not {code}")
    return error["message"]


SEED_FIELDS = {
    "dashboard": {"topology", "metrics", "shards"},
    "topology": {"configCluster", "shardGroups", "shardMap", "totalShards", "updatedAt"},
    "configCluster": {"configNum", "nodes", "leaderId", "totalStorage"},
    "group": {"groupId", "nodes", "shards", "totalStorage", "leaderId"},
    "node": {
        "id", "address", "role", "term", "commitIndex", "lastApplied", "storageBytes", "healthy", "lastSeen"},
    "metrics": {
        "totalNodes", "healthyNodes", "totalStorage", "totalKeys", "totalShards", "averageLoad", "updatedAt"},
    "shard": {"shardId", "groupId", "state", "keys", "bytes"},
}


@check(["rocksdb", "lmdb", "sqlite"])
def a_dashboard_shows_the_cluster_with_erafts_fields(engine):
    with Cluster(engine, shards=8).up() as cluster:
        cluster.put_many([(f"key{number}", "x" * 100) for number in range(200)])
        with Dashboard(cluster.endpoints) as dashboard:
            state = dashboard.wait("every node to be well", lambda state: (
                state["metrics"]["healthyNodes"] == 9 and state["metrics"]["totalKeys"] == 200) and state)
            topology = state["topology"]
            objects = {
                "dashboard": [state], "topology": [topology], "configCluster": [topology["configCluster"]],
                "group": topology["shardGroups"], "node": nodes_of(state), "metrics": [state["metrics"]],
                "shard": state["shards"]}
            for name, rows in objects.items():
                for row in rows:
                    require(SEED_FIELDS[name] <= set(row), f"a {name} lacks {SEED_FIELDS[name] - set(row)}")
            require(dashboard.get("/api/topology").keys() == topology.keys(), "/api/topology has other fields")
            require(dashboard.get("/api/metrics").keys() == state["metrics"].keys(), "/api/metrics has other fields")
            require(topology["totalShards"] == 8 and len(state["shards"]) == 8, "not 8 shards")
            require({group["groupId"] for group in topology["shardGroups"]} == {100, 101}, "not groups 100 and 101")
            config = cluster.query()
            require([topology["shardMap"][str(shard)] for shard in range(8)] == config["shards"], "another shard map")
            require(all(shard["state"] == "Serving" for shard in state["shards"]), "a shard isn't served")
            require(sum(shard["keys"] for shard in state["shards"]) == 200, "the shards don't hold 200 keys")
            require(all(node["engine"] == engine for node in nodes_of(state)), "another engine")
            roles = [node["role"] for node in nodes_of(state)]
            require(roles.count("Leader") == 3 and roles.count("Follower") == 6, f"roles {roles}")
            for group in topology["shardGroups"] + [topology["configCluster"]]:
                require(group["leaderId"] in (0, 1, 2), f"no leader: {group['leaderId']}")
            for node in nodes_of(state):
                require(node["storageBytes"] > 0 and node["storageCapacity"] > node["storageFree"] > 0, f"{node}")
            # All on one disk: counted once.
            require(state["metrics"]["storageCapacity"] == nodes_of(state)[0]["storageCapacity"], "capacity counted twice")
            dashboard.wait("round trips between all nodes", lambda state: all(
                len(node["peers"]) == 2 and all(peer["roundTripMs"] for peer in node["peers"])
                for node in nodes_of(state)))


@check(["rocksdb"])
def a_dashboard_shows_load_latencies_and_history(engine):
    with Cluster(engine, shards=4).up() as cluster, Dashboard(cluster.endpoints) as dashboard:
        stop = threading.Event()

        def work():
            while not stop.is_set():
                cluster.run("bench", "cluster", "--clients", "8", "--seconds", "1", timeout=60)
        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            def busy(state):
                metrics = state["metrics"]
                rows = {row["operation"]: row for row in metrics["operations"]}
                put = rows["put"]
                return (
                    set(rows) == {"get", "scan", "put", "append", "delete", "compareAndSet"}
                    and put["perSecond"] > 0 and 0 < put["p50Ms"] <= put["p99Ms"]
                    and metrics["operationsPerSecond"] >= put["perSecond"]
                    and metrics["fsync"]["perSecond"] > 0 and 0 < metrics["fsync"]["p50Ms"] <= metrics["fsync"]["p99Ms"]
                    and any(shard["writesPerSecond"] > 0 for shard in state["shards"]))
            dashboard.wait("puts with their latencies", busy, 60)
        finally:
            stop.set()
            thread.join(timeout=60)
        history = dashboard.get("/api/history?window=300")
        require(all(len(row) == len(history["times"]) for row in history["series"].values()), "ragged history")
        require(any(value for value in history["series"]["operations.put"]), "no puts in the history")
        require(any(value for value in history["series"]["p99Ms.put"]), "no percentiles in the history")
        require(any(value for value in history["series"]["fsync.p99Ms"]), "no fsyncs in the history")


@check(["rocksdb"])
def a_dashboard_sends_updates_by_itself(engine):
    with Cluster(engine, groups=(100,), shards=2).up() as cluster, Dashboard(cluster.endpoints) as dashboard:
        host, port = dashboard.address.rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request("GET", "/api/stream")
        answer = connection.getresponse()
        require(answer.getheader("content-type") == "text/event-stream", answer.getheader("content-type"))
        seen = []
        for _ in range(1000):
            line = answer.readline().decode()
            if line.startswith("data: "):
                seen.append(json.loads(line[6:])["status"]["sequence"])
                if len(seen) == 4:
                    break
        connection.close()
        require(len(seen) == 4 and seen == sorted(set(seen)), f"sequences {seen}")
        # Pages that were closed make room for others: 256 may be open.
        for number in range(300):
            connection = http.client.HTTPConnection(host, int(port), timeout=30)
            connection.request("GET", "/api/stream")
            answer = connection.getresponse()
            require(answer.status == 200, f"stream {number}: {answer.status}")
            answer.readline()
            answer.close()
            connection.close()
            if number % 100 == 99:
                # Who is gone is noticed at the next update.
                first = dashboard.state()["status"]["sequence"]
                dashboard.wait("two updates", lambda state: state["status"]["sequence"] > first + 1)


@check(["rocksdb"])
def a_dashboard_says_what_is_missing_and_recovers(engine):
    with Cluster(engine, shards=4) as cluster:
        with Dashboard(cluster.endpoints) as dashboard:
            # Nothing runs yet.
            state = dashboard.wait("the controller to be missed", lambda state: (
                not state["status"]["controller"]["reachable"] and state["status"]["missing"]) and state)
            require(state["status"]["controller"]["since"] and state["status"]["controller"]["error"], "no reason")
            require(state["topology"]["configCluster"]["configNum"] == 0, "a config from nowhere")
            error_of(dashboard.ask("/api/plan?leave=100"), 503, "unavailable")
            require(dashboard.ask("/").status == 200, "no page")
            cluster.up()
            dashboard.wait("all to be well", lambda state: (
                state["status"]["controller"]["reachable"] and state["metrics"]["healthyNodes"] == 9
                and not state["status"]["missing"]))
            # A node dies, and comes back.
            leader = cluster.leader(100)
            leader.kill()
            state = dashboard.wait("the node to be missed", lambda state: any(
                row["address"] == leader.address and row["since"] and row["error"]
                for row in state["status"]["missing"]) and state)
            row = next(node for node in nodes_of(state) if node["address"] == leader.address)
            require(not row["healthy"] and row["downSince"] and row["lastSeen"], f"{row}")
            require(100 in state["metrics"]["underReplicated"], "the group isn't called under-replicated")
            dashboard.wait("another leader", lambda state: any(
                event["kind"] == "leader" and event["groupId"] == 100 and event["nodeId"] != leader.number
                for event in state["events"]))
            leader.start()
            dashboard.wait("the node to be found", lambda state: (
                state["metrics"]["healthyNodes"] == 9 and not state["status"]["missing"]
                and {"node-lost", "node-found"} <= {event["kind"] for event in state["events"]}))
            # The controllers go: the map that was last seen stays.
            for node in cluster.group(0):
                node.kill()
            state = dashboard.wait("the controller to be missed again", lambda state: (
                not state["status"]["controller"]["reachable"]) and state)
            require(len(state["topology"]["shardGroups"]) == 2 and len(state["shards"]) == 4, "the map was forgotten")
            for node in cluster.group(0):
                node.start()
            dashboard.wait("the controller to be found", lambda state: (
                state["status"]["controller"]["reachable"] and state["metrics"]["healthyNodes"] == 9))


@contextlib.contextmanager
def impostor(answer):
    """Listens, and to whoever comes says `answer`, or nothing for as long as they wait."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(64)
    connections = []

    def serve():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            connections.append(connection)
            with contextlib.suppress(OSError):
                if answer:
                    connection.sendall(answer)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        for connection in connections:
            connection.close()
        thread.join(timeout=10)


@check(["rocksdb"], slow="it waits for calls that nobody answers")
def a_dashboard_outlives_nodes_that_answer_garbage_or_never(engine):
    with Cluster(engine, groups=(100,), shards=2).up() as cluster:
        with impostor(b"\x00\xff<script>alert(1)</script>" * 400) as garbage, impostor(b"") as silence:
            # The last address is one of another group's nodes: it answers, and not for group 300.
            other = cluster.group(100)[0].address
            cluster.run("controller", "join", f"200={garbage},{silence}", "--force")
            with Dashboard(cluster.endpoints) as dashboard:
                state = dashboard.wait("both to be missed", lambda state: (
                    {garbage, silence} <= {row["address"] for row in state["status"]["missing"]}) and state, 60)
                require(state["metrics"]["healthyNodes"] == 6, f"{state['metrics']['healthyNodes']} are well, not 6")
                first = state["status"]["sequence"]
                dashboard.wait("more updates", lambda state: state["status"]["sequence"] > first + 2)
                require(200 in state["metrics"]["withoutQuorum"], "group 200 has a quorum")
            # The first controller hangs, the others don't.
            with Dashboard(f"{silence},{cluster.endpoints}") as dashboard:
                dashboard.wait("the map by the other controllers", lambda state: (
                    state["status"]["controller"]["reachable"] and len(state["shards"]) == 2))
                first = dashboard.state()["status"]["sequence"]
                dashboard.wait("more updates", lambda state: (
                    state["status"]["controller"]["reachable"] and state["status"]["sequence"] > first + 3))
            # A controller that is none.
            for address in (garbage, silence, other):
                with Dashboard(address) as dashboard:
                    dashboard.wait("the controller to be missed", lambda state: (
                        not state["status"]["controller"]["reachable"] and state["status"]["controller"]["error"]))


@check(["rocksdb"])
def a_dashboard_answers_mistakes_in_json(engine):
    with Cluster(engine, groups=(100,), shards=4).up() as cluster:
        with Dashboard(cluster.endpoints) as dashboard:
            dashboard.wait("the map", lambda state: len(state["shards"]) == 4)
            for path in ("/nothing", "/api/nothing", "/api/shards/1", "/app.js/..", "/%2e%2e/etc/passwd"):
                error_of(dashboard.ask(path), 404, "not-found")
            for method in ("POST", "DELETE", "PUT"):
                answer = dashboard.ask("/api/dashboard", method=method, body="{}")
                error_of(answer, 405, "method-not-allowed")
                require("GET" in answer.headers["allow"], f"{answer.headers}")
            error_of(dashboard.ask("/api/actions/move"), 405, "method-not-allowed")
            require("shards are 0 to 3" in error_of(dashboard.ask("/api/shards/4/content"), 404, "not-found"), "no range")
            error_of(dashboard.ask("/api/shards/-1/content"), 404, "not-found")
            error_of(dashboard.ask("/api/shards/x/content"), 404, "not-found")
            error_of(dashboard.ask("/api/plan?leave=999"), 404, "not-found")
            error_of(dashboard.ask("/api/plan?leave=100"), 409, "conflict")
            for query in ("plan", "plan?join=x", "plan?join=0=a:1", "plan?join=101=", "plan?join=101=nowhere", "plan?leave=x", "plan?stay=1",
                          "history?window=0", "history?window=x", "events?limit=1001", "keys/get", "keys/get?key=",
                          "keys/get?keyBase64=%25", "keys/scan?limit=0"):
                error_of(dashboard.ask("/api/" + query), 400, "bad-request")
            error_of(dashboard.ask("/%zz"), 400, "bad-request")
            error_of(dashboard.ask("/api/moves", headers={"Sec-Fetch-Site": "cross-site"}), 403, "forbidden")
            error_of(dashboard.ask("/", headers={"Host": "evil.example"}), 421, "misdirected")
            require(dashboard.ask("/", headers={"Host": f"localhost:{dashboard.address.split(':')[1]}"}).status == 200, "localhost")
            answer = dashboard.ask("/")
            require("script-src 'self'" in answer.headers["content-security-policy"], "no policy")
            # A body after a HEAD would be taken for the next answer of the connection.
            host, number = dashboard.address.rsplit(":", 1)
            connection = http.client.HTTPConnection(host, int(number), timeout=30)
            for path in ("/", "/api/stream", "/nothing"):
                connection.request("HEAD", path)
                head = connection.getresponse()
                head.read()
                require(head.status == (404 if path == "/nothing" else 200), f"HEAD {path}: {head.status}")
                connection.request("GET", "/healthz")
                after = connection.getresponse()
                body = after.read()
                require(after.status == 200 and body == b"ok\n", f"after HEAD {path}: {after.status} {body[:50]}")
            connection.close()
            plan = dashboard.get("/api/plan?join=101=127.0.0.1:1,127.0.0.1:2,127.0.0.1:3")
            require(len(plan["moves"]) == 2 and plan["after"] == {"100": 2, "101": 2}, f"{plan}")
            # What was only asked has changed nothing.
            require(set(cluster.query()["shards"]) == {100}, "a plan moved something")
            # A port in use, and mistyped flags.
            port = dashboard.address.split(":")[1]
            code, out, err = cluster.cli("dashboard", "--port", port)
            require(code == 69 and len(err.strip().splitlines()) == 1 and "port is in use" in err, f"exit {code}: {err}")
        for words in (["--port", "70000"], ["--update-interval", "5"], ["--update-interval", "1h"], ["--listen", "name"],
                      ["--controllers", "nowhere"], ["--unknown"]):
            code, _, err = cluster.cli("dashboard", *words)
            require(code == 64 and err.strip(), f"{words}: exit {code}: {err}")


@check(["rocksdb"])
def a_dashboard_moves_shards_only_when_told_so_by_its_own_page(engine):
    with Cluster(engine, shards=4).up() as cluster:
        cluster.put_many([(f"key{number}", "x" * 100) for number in range(400)])
        source = cluster.query()["shards"][0]
        target = 201 - source
        with Dashboard(cluster.endpoints) as dashboard:
            dashboard.wait("the map", lambda state: state["metrics"]["healthyNodes"] == 9)
            require("--allow-actions" in error_of(dashboard.move(0, target), 403, "forbidden"), "no remedy")
        with Dashboard(cluster.endpoints, "--allow-actions") as dashboard:
            dashboard.wait("the map", lambda state: state["metrics"]["healthyNodes"] == 9)
            require(dashboard.state()["status"]["allowActions"], "actions aren't shown as allowed")
            for changes in ({"Origin": None}, {"Origin": "http://evil.example"}, {"Sec_Fetch_Site": "cross-site"},
                            {"X_Flotilla_Action": None}, {"Content_Type": "text/plain"}, {"Origin": "null"}):
                error_of(dashboard.move(0, target, **changes), 403, "forbidden")
            error_of(dashboard.move(9, target), 404, "not-found")
            error_of(dashboard.move(0, 7), 404, "not-found")
            headers = {"Origin": f"http://{dashboard.address}", "Content-Type": "application/json", "X-Flotilla-Action": "move"}
            answer = dashboard.ask("/api/actions/move", method="POST", body="[", headers=headers)
            error_of(answer, 400, "bad-request")
            answer = dashboard.ask("/api/actions/move", method="POST", body="x" * 100000, headers=headers)
            error_of(answer, 413, "too-large")
            require(cluster.query()["shards"][0] == source, "a refused move has begun")
            answer = dashboard.move(0, target)
            require(answer.status == 202 and answer.json()["config"] > 0 and answer.json()["outcome"] == "begun", f"{answer.status} {answer.body}")
            state = dashboard.wait("the move to have ended", lambda state: any(
                row["shardId"] == 0 and row["to"] == target and row["phase"] == "done" and row["endedAt"]
                for row in state["moves"]["history"]) and state)
            require(state["topology"]["shardMap"]["0"] == target, "the map has it elsewhere")
            require(dashboard.move(0, target).json()["outcome"] == "there", "a move to where it is has begun")
            require(any(event["kind"] == "move" and event["shardId"] == 0 for event in state["events"]), "no event")
        require(len(cluster.contents()) == 400, "keys were lost")


@check(["rocksdb", "lmdb", "sqlite"])
def a_dashboard_shows_how_far_a_move_has_come(engine):
    with Cluster(engine, shards=4).up({"FLOTILLA_FAILPOINTS": "piece-fetched=60"}) as cluster:
        for number in range(16):
            cluster.run("kv", "put", f"{{a}}{number}", "-", stdin=os.urandom(1 << 20))
        rows = [shard for node in cluster.status() for shard in node["shards"] or []]
        shard = max(rows, key=lambda row: row["bytes"])["shardId"]
        target = 201 - cluster.query()["shards"][shard]
        with Dashboard(cluster.endpoints) as dashboard:
            dashboard.wait("the map", lambda state: state["metrics"]["healthyNodes"] == 9)
            cluster.move(shard, target)
            seen = []

            def watch(state):
                for move in state["moves"]["live"]:
                    if move["shardId"] == shard and move["totalBytes"]:
                        seen.append((move["copiedBytes"], move["totalBytes"]))
                return any(row["shardId"] == shard and row["phase"] == "done" for row in state["moves"]["history"])
            dashboard.wait("the move to end", watch, 120)
            require(any(0 < copied < total for copied, total in seen), f"no part of a copy was seen: {seen[:20]}")
            require(all(copied <= total for copied, total in seen), f"more than all: {seen[:20]}")
            require(max(total for _, total in seen) >= 16 << 20, f"less than the shard: {seen[:20]}")


@check(["rocksdb", "lmdb", "sqlite"])
def a_dashboard_finds_out_whether_replicas_agree(engine):
    with Cluster(engine, groups=(100,), shards=2).up() as cluster:
        cluster.put_many([(f"key{number}", "x" * 100) for number in range(100)])
        cluster.wait_replicas_agree(100)
        with Dashboard(cluster.endpoints) as dashboard:
            dashboard.wait("the map", lambda state: len(state["shards"]) == 2)
            exact = cluster.status(100, exact=True)[0]
            for shard in (0, 1):
                content = dashboard.get(f"/api/shards/{shard}/content")
                require(content["verdict"] == "agree" and len(content["replicas"]) == 3, f"{content}")
                hashes = {row["shardId"]: row["contentHash"] for row in exact["shards"]}
                require({row["hash"] for row in content["replicas"]} == {hashes[shard]}, f"{content}, {hashes}")
            for node in cluster.group(100)[1:]:
                node.kill()
            content = dashboard.get("/api/shards/0/content")
            require(content["verdict"] == "unreachable", f"{content}")
            require(sum(1 for row in content["replicas"] if row["error"]) == 2, f"{content}")


@check(["rocksdb"])
def a_dashboard_gives_keys_as_they_are(engine):
    hostile = [b"<script>alert(1)</script>", b"<img src=x onerror=alert(1)>", "żółw\n".encode(), b"\xff\xfe\x00binary", b"a&b=c+d"]
    with Cluster(engine, groups=(100,), shards=4).up() as cluster:
        for key in hostile:
            append_at_leader(cluster, 100, key, b"v:" + key, Session(), 1)
        cluster.put_many([(f"page{number:03}", "x") for number in range(25)])
        cluster.run("kv", "put", "long", "-", stdin=b"y" * 200000)
        with Dashboard(cluster.endpoints) as dashboard:
            dashboard.wait("the map", lambda state: len(state["shards"]) == 4)
            for key in hostile:
                encoded = base64.b64encode(key).decode()
                found = dashboard.get("/api/keys/get?keyBase64=" + urllib.parse.quote(encoded))
                require(found["found"] and found["bytes"] == len(key) + 2, f"{found}")
                try:
                    text = key.decode()
                    require(found["key"] == text and found["value"] == "v:" + text, f"{found}")
                    same = dashboard.get("/api/keys/get?key=" + urllib.parse.quote(text))
                    require(same == found, f"{same}")
                except UnicodeDecodeError:
                    require(found["keyBase64"] == encoded and "key" not in found, f"{found}")
                    require(base64.b64decode(found["valueBase64"]) == b"v:" + key, f"{found}")
            answer = dashboard.ask("/api/keys/scan?prefix=" + urllib.parse.quote("<script>"))
            require(answer.headers["content-type"].startswith("application/json"), "another type")
            require(answer.headers["x-content-type-options"] == "nosniff", "a browser may guess the type")
            absent = dashboard.get("/api/keys/get?key=absent")
            require(not absent["found"] and absent["value"] is None, f"{absent}")
            long = dashboard.get("/api/keys/get?key=long")
            require(long["truncated"] and long["bytes"] == 200000 and len(long["value"]) == 65536, "a long value")
            seen, after = [], ""
            for _ in range(10):
                page = dashboard.get("/api/keys/scan?prefix=page&limit=10" + after)
                seen += [pair["key"] for pair in page["pairs"]]
                if not page["more"]:
                    break
                after = "&afterBase64=" + urllib.parse.quote(page["afterBase64"])
            require(seen == [f"page{number:03}" for number in range(25)], f"{seen}")


@check(["rocksdb", "lmdb", "sqlite"])
def a_node_serves_metrics_under_etcds_names(engine):
    ports = free_ports(9)
    with Cluster(engine, shards=2) as cluster:
        for node, port in zip(cluster.nodes, ports):
            node.http = f"127.0.0.1:{port}"
            original = node.arguments
            node.arguments = lambda engine=None, original=original, port=port: original(engine) + ["--http-port", str(port)]
        cluster.up()
        cluster.put_many([(f"key{number}", "x" * 100) for number in range(100)])

        def metrics(node):
            answer = ask(node.http, "/metrics")
            require(answer.status == 200 and answer.headers["content-type"].startswith("text/plain; version=0.0.4"), "type")
            found = {}
            for line in answer.body.decode().splitlines():
                if line.startswith("#"):
                    require(re.fullmatch(r"# (HELP|TYPE) [a-z_]+ .+", line), f"a malformed comment: {line}")
                    continue
                match = re.fullmatch(r'([a-z_]+(?:\{[a-zA-Z_]+="[^"]*"(?:,[a-zA-Z_]+="[^"]*")*\})?) ([-+0-9.e]+)', line)
                require(match, f"a malformed line: {line}")
                require(match[1] not in found, f"twice: {match[1]}")
                found[match[1]] = float(match[2])
            return found
        for node in cluster.nodes:
            found = metrics(node)
            for name in ("server_has_leader", "server_is_leader", "server_leader_changes_seen_total",
                         "server_proposals_committed_total", "server_proposals_applied_total", "server_proposals_pending",
                         "server_proposals_failed_total", "disk_wal_fsync_duration_seconds_count",
                         "disk_wal_fsync_duration_seconds_sum", "db_total_size_in_bytes"):
                require(f"flotilla_{name}" in found, f"{name} is missing")
            require(found["flotilla_server_has_leader"] == 1 and found["flotilla_server_leader_changes_seen_total"] >= 1, "leader")
            require(found["flotilla_disk_wal_fsync_duration_seconds_count"] > 0, "no fsync was counted")
            require(
                found['flotilla_disk_wal_fsync_duration_seconds_bucket{le="+Inf"}']
                == found["flotilla_disk_wal_fsync_duration_seconds_count"], "buckets don't add up")
            require(found["process_resident_memory_bytes"] > 1 << 20 and found["process_open_fds"] > 3, "process")
        puts = sum(metrics(node)['flotilla_operation_duration_seconds_count{operation="put"}'] for node in cluster.nodes if node.gid)
        require(puts == 100, f"{puts} puts were counted, not 100")
        writes = sum(value for node in cluster.nodes if node.gid for name, value in metrics(node).items()
                     if name.startswith("flotilla_shard_writes_total"))
        require(writes == 100, f"{writes} writes of shards were counted, not 100")
        wait_for("round trips", lambda: all(
            metrics(node)[f'flotilla_network_peer_round_trip_time_seconds_count{{To="{peer}"}}'] > 0
            for node in cluster.nodes for peer in range(3) if peer != node.number))
        for node in cluster.nodes:
            require(ask(node.http, "/healthz").body == b"ok\n", "not healthy")
            require(ask(node.http, "/readyz").status == 200, "not ready")
            require(ask(node.http, "/nothing").status == 404 and ask(node.http, "/metrics", method="POST").status == 405, "mistakes")
        # Without its quorum a node lives and isn't ready.
        left, *others = cluster.group(100)
        for node in others:
            node.kill()
        answer = wait_for("not ready", lambda: (lambda a: a.status == 503 and a)(ask(left.http, "/readyz")))
        require(b"knows no leader" in answer.body, f"{answer.body}")
        require(ask(left.http, "/healthz").status == 200, "not alive")
        require(metrics(left)["flotilla_server_has_leader"] == 0, "a leader from nowhere")
        # A port in use.
        code, err = start_once(others[0], left.http)
        require(code == 69 and "port is in use" in err, f"exit {code}: {err}")


def start_once(node, http):
    """Starts a node whose HTTP port is taken; it must end by itself."""
    words = [PROGRAM] + Node.arguments(node) + ["--http-port", http.split(":")[1]]
    done = subprocess.run(words, capture_output=True, timeout=30, stdin=subprocess.DEVNULL)
    return done.returncode, done.stderr.decode(errors="replace")


@check(["rocksdb"])
def erafts_dashboard_server_takes_its_flags(engine):
    with Cluster(engine, groups=(100,), shards=2).up() as cluster:
        program = os.path.join(ROOT, "output", "dashboard-server")
        port = free_ports(1)[0]
        process = subprocess.Popen(
            [program, f"-port={port}", f"-config-addrs={cluster.endpoints}", "-update-interval=1s"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for("the dashboard", lambda: ask(f"127.0.0.1:{port}", "/api/dashboard").json()["metrics"]["healthyNodes"] == 6)
        finally:
            process.kill()
            process.wait(timeout=60)
        done = subprocess.run([program, "-prot=1"], capture_output=True, timeout=60)
        require(done.returncode == 64 and b"flag provided but not defined: -prot" in done.stderr, f"{done}")


@check(["mixed"])
def a_local_cluster_has_its_dashboard(engine):
    base = free_base(groups=1)
    path = subprocess.run(["mktemp", "-d"], capture_output=True, check=True).stdout.decode().strip()
    process = subprocess.Popen(
        [PROGRAM, "local", "--groups", "1", "--engine", engine, "--data-dir", path, "--base-port", str(base), "--dashboard-port", "0"],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        address = None
        for _ in range(20):
            line = process.stdout.readline().decode()
            if line.startswith("dashboard: http://"):
                address = line.strip().removeprefix("dashboard: http://")
                break
        require(address, "no line names the dashboard")
        state = wait_for("six nodes", lambda: (lambda s: s["metrics"]["healthyNodes"] == 6 and s)(ask(address, "/api/dashboard").json()))
        require({node["engine"] for node in nodes_of(state)} == set(MIXED), "not three engines")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=60)
        subprocess.run(["rm", "-rf", path], check=False)
