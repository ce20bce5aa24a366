"""A server of the dashboard's pages and API with made-up but consistent data, which a test can change while it runs.

    /usr/bin/python3 Tests/Browser/fixture_server.py --groups 100 --replicas 5 --shards 1024
"""
import argparse
import base64
import datetime
import json
import math
import os
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

PAGES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "Sources", "CDashboardPages", "pages")
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
OPERATIONS = ["get", "scan", "put", "append", "delete", "compareAndSet"]
ENGINES = ["rocksdb", "lmdb", "sqlite"]
GIB = 1 << 30

HOSTILE = [
    b"<script>alert(1)</script>", b"<img src=x onerror=alert(1)>", b"\"><svg onload=alert(1)>", b"javascript:alert(1)",
    b"</title><script>alert(1)</script>", "\u202egnp.exe".encode(), b"new\nline\tand\x00zero", b"\xff\xfe\x00binary",
]


def stamp(seconds):
    return datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") + f"{int(seconds * 1000) % 1000:03d}Z"


class Refusal(Exception):
    def __init__(self, status, code, message):
        super().__init__(message)
        self.status, self.code = status, code


class Cluster:
    """The made-up cluster. Every method may be called from any thread."""

    def __init__(self, groups=3, replicas=3, shards=64, allow_actions=False, interval_ms=1000, seed=7):
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.random = random.Random(seed)
        self.interval_ms, self.allow_actions = interval_ms, allow_actions
        self.sequence, self.config, self.event_id, self.epoch = 1, 12, 0, 100
        # How the server misbehaves: None, "broken" (connections end), "garbage", "no-stream"
        self.fault = None
        self.frozen = False
        self.posted = []
        self.streams = 0
        self.started = time.time() - 3 * 3600
        self.controller_error = None
        self.hold, self.waiting, self.live, self.history, self.events = None, [], [], [], []
        self.missing = {}
        self.groups = {0: self._group(0, min(replicas, 3), 50051)}
        for index in range(groups):
            self.groups[100 + index] = self._group(100 + index, replicas, 50151 + index * 10)
        owners = sorted(self.groups)[1:]
        self.shards = [self._shard(number, owners[number * groups // shards]) for number in range(shards)]
        self.keys = {b"user:%04d" % number: b"value %d" % number for number in range(250)}
        for number, key in enumerate(HOSTILE):
            self.keys[key] = key + b" as value" if number % 2 else b"\x00\x01\xfe\xff" + key
        self.keys[b"long"] = b"x" * 5000
        self.keys[b"wide"] = b"x" + "\u00e9\u20ac\U0001f40b".encode() * 100
        for number in range(30):
            self._event("leader", "info", f"node 0 of group {owners[number % groups]} leads in term {number % 5 + 1}", owners[number % groups], 0)
        self.samples = [self._sample(time.time() - (3600 - index) * interval_ms / 1000, index) for index in range(3600)]
        self.collected = time.time()

    def _group(self, gid, replicas, port):
        nodes = [{
            "id": number, "address": f"10.0.{gid % 250}.{number + 1}:{port + number}", "role": "Leader" if number == gid % replicas else "Follower",
            "term": 3 + gid % 4, "commitIndex": 40000 + gid, "lastApplied": 40000 + gid, "storageBytes": (2 + (gid * 7 + number) % 9) * 37_000_000,
            "healthy": True, "lastSeen": None, "groupId": gid, "error": None, "downSince": None, "condition": "",
            "engine": ENGINES[number % 3], "version": "0.1.0", "firstIndex": 30000, "lastIndex": 40000 + gid, "lagEntries": 0, "voter": True,
            "storageCapacity": 100 * GIB, "storageFree": 61 * GIB, "reusableBytes": 1_200_000, "shortOfSpace": False,
            "httpAddress": f"10.0.{gid % 250}.{number + 1}:9{port % 1000 + number:03d}", "startedAt": stamp(self.started), "leaderChanges": 1 + gid % 3,
            "proposalsPending": 0, "snapshotsInstalled": 0, "snapshotsSent": 1,
            "fsync": {"perSecond": 12.0, "p50Ms": 0.4, "p99Ms": 2.1}, "operationsPerSecond": 120.5, "peers": [],
        } for number in range(replicas)]
        for node in nodes:
            node["peers"] = [{"id": peer["id"], "address": peer["address"], "heardAgoMs": 120,
                              "roundTripMs": round(0.25 + self.random.random() * 0.1 + (1.1 if peer["id"] == replicas - 1 and gid % 5 == 0 else 0), 3)}
                             for peer in nodes if peer is not node]
        return {"gid": gid, "nodes": nodes, "leader": gid % replicas, "leaving": False}

    def _shard(self, number, gid):
        keys = int(200 + 3000 * abs(math.sin(number * 1.7)) * self.random.random())
        return {"shardId": number, "groupId": gid, "state": "Serving", "keys": keys, "bytes": keys * 130, "epoch": 4 + number % 3,
                "readsPerSecond": round(abs(math.sin(number / 9)) * 40, 1), "writesPerSecond": round(abs(math.cos(number / 5)) * 8, 1), "move": None}

    def _sample(self, at, index):
        nodes = [node for group in self.groups.values() for node in group["nodes"]]
        values = {"fsync.p50Ms": 0.4 + 0.05 * math.sin(index / 7), "fsync.p99Ms": 2 + 0.7 * math.sin(index / 11), "lagEntries": max(0, int(9 * math.sin(index / 31))),
                  "keys": sum(shard["keys"] for shard in self.shards) - 30 * (3600 - min(index, 3600)),
                  "storage": sum(node["storageBytes"] for node in nodes) - 40000 * (3600 - min(index, 3600)),
                  "healthyNodes": sum(node["healthy"] for node in nodes)}
        for number, operation in enumerate(OPERATIONS):
            values[f"operations.{operation}"] = round((400 >> number) * (1.2 + math.sin(index / 20 + number) * 0.4), 2)
            values[f"p50Ms.{operation}"] = round(0.3 + 0.1 * number + 0.05 * math.sin(index / 9), 3)
            values[f"p99Ms.{operation}"] = round(1.2 + 0.4 * number + 0.5 * abs(math.sin(index / 13 + number)), 3)
        if 300 < index < 312:
            values["p99Ms.scan"] = None
        return int(at * 1000), values

    def _event(self, kind, severity, text, group=None, node=None, shard=None):
        self.event_id += 1
        self.events.insert(0, {"id": self.event_id, "at": stamp(time.time()), "kind": kind, "severity": severity, "groupId": group, "nodeId": node, "shardId": shard, "text": text})
        del self.events[1000:]

    # What a test does to it

    def update(self):
        """One update: as the server makes one for each interval."""
        with self.lock:
            self.sequence += 1
            self.collected = time.time()
            self.samples.append(self._sample(self.collected, 3600 + self.sequence))
            del self.samples[:-3600]
            for group in self.groups.values():
                for node in group["nodes"]:
                    if node["healthy"]:
                        for name in ("commitIndex", "lastApplied", "lastIndex"):
                            node[name] += 17
                        node["lastSeen"] = stamp(self.collected)
                        node["operationsPerSecond"] = round(100 + 40 * self.random.random(), 1)
                        for peer in node["peers"]:
                            peer["roundTripMs"] = round(max(0.1, peer["roundTripMs"] + self.random.uniform(-0.01, 0.01)), 3)
            for shard in self.shards:
                shard["readsPerSecond"] = round(max(0, shard["readsPerSecond"] + self.random.uniform(-2, 2)), 1)
                shard["keys"] += 1
                shard["bytes"] += 130
            for move in self.live:
                if move["totalBytes"]:
                    move["copiedBytes"] = min(move["totalBytes"], move["copiedBytes"] + move["totalBytes"] // 20)
            self.changed.notify_all()

    def lose_node(self, gid, number, error="no node answers"):
        with self.lock:
            node = self.groups[gid]["nodes"][number]
            now = stamp(time.time())
            node.update(healthy=False, error=f"{error} at {node['address']}", downSince=now)
            self.missing[(gid, number)] = {"groupId": gid, "nodeId": number, "address": node["address"], "error": node["error"], "since": now}
            if self.groups[gid]["leader"] == number:
                self.groups[gid]["leader"] = None
            self._event("node-lost", "warning", f"node {number} of group {gid} doesn't answer", gid, number)
        self.update()

    def find_node(self, gid, number):
        with self.lock:
            self.groups[gid]["nodes"][number].update(healthy=True, error=None, downSince=None)
            self.missing.pop((gid, number), None)
            self._event("node-found", "info", f"node {number} of group {gid} answers again", gid, number)
        self.update()

    def change_leader(self, gid, number):
        with self.lock:
            group = self.groups[gid]
            group["leader"] = number
            for node in group["nodes"]:
                node["role"] = "Leader" if node["id"] == number else "Follower"
                node["term"] += 1
            self._event("leader", "info", f"node {number} of group {gid} leads in term {group['nodes'][0]['term']}", gid, number)
        self.update()

    def start_move(self, number, to, total=10_000_000):
        with self.lock:
            if not 0 <= number < len(self.shards):
                raise Refusal(404, "not-found", f"there is no shard {number}; shards are 0 to {len(self.shards) - 1}")
            if to not in self.groups or to == 0:
                raise Refusal(404, "not-found", f"there is no group {to}")
            shard = self.shards[number]
            if shard["move"]:
                raise Refusal(409, "conflict", f"shard {number} is on the move already")
            if shard["groupId"] == to:
                raise Refusal(409, "conflict", f"group {to} serves shard {number} already")
            self.epoch += 1
            self.config += 1
            shard.update(state="BePulling", move={"from": shard["groupId"], "to": to, "phase": "moving"})
            self.live.append({"shardId": number, "epoch": self.epoch, "from": shard["groupId"], "to": to, "phase": "moving", "startedAt": stamp(time.time()),
                              "endedAt": None, "copiedBytes": None if total is None else 0, "totalBytes": total})
            self._event("move", "info", f"shard {number} moves from group {shard['groupId']} to group {to}", to, None, number)
        self.update()
        return self.config

    def finish_move(self, number):
        with self.lock:
            move = next(each for each in self.live if each["shardId"] == number)
            self.live.remove(move)
            self.history.insert(0, {**move, "phase": "done", "endedAt": stamp(time.time()), "copiedBytes": move["totalBytes"]})
            self.shards[number].update(state="Serving", groupId=move["to"], move=None, epoch=move["epoch"])
            self._event("move", "info", f"shard {number} has moved to group {move['to']}", move["to"], None, number)
        self.update()

    def lose_controller(self, error):
        with self.lock:
            self.controller_error = error and (error, stamp(time.time()))
        self.update()

    # What it answers

    def topology(self):
        answer = []
        for gid, group in self.groups.items():
            if gid == 0:
                continue
            owned = [shard for shard in self.shards if shard["groupId"] == gid]
            healthy = sum(node["healthy"] for node in group["nodes"])
            answer.append({"groupId": gid, "nodes": group["nodes"], "shards": [shard["shardId"] for shard in owned],
                           "totalStorage": sum(node["storageBytes"] for node in group["nodes"]), "leaderId": group["leader"],
                           "keys": sum(shard["keys"] for shard in owned), "bytes": sum(shard["bytes"] for shard in owned),
                           "leaving": group["leaving"], "hasQuorum": healthy * 2 > len(group["nodes"])})
        controller = self.groups[0]
        return {"configCluster": {"configNum": self.config, "nodes": controller["nodes"], "leaderId": controller["leader"],
                                  "totalStorage": sum(node["storageBytes"] for node in controller["nodes"])},
                "shardGroups": answer, "shardMap": {str(shard["shardId"]): shard["groupId"] for shard in self.shards},
                "totalShards": len(self.shards), "updatedAt": stamp(self.collected)}

    def metrics(self):
        nodes = [node for group in self.groups.values() for node in group["nodes"]]
        values = self.samples[-1][1]
        without = [gid for gid, group in self.groups.items() if sum(node["healthy"] for node in group["nodes"]) * 2 <= len(group["nodes"])]
        return {"totalNodes": len(nodes), "healthyNodes": sum(node["healthy"] for node in nodes), "totalStorage": sum(node["storageBytes"] for node in nodes),
                "totalKeys": sum(shard["keys"] for shard in self.shards), "totalShards": len(self.shards),
                "averageLoad": len(self.shards) / max(1, len(self.groups) - 1), "updatedAt": stamp(self.collected),
                "storageCapacity": 100 * GIB * len(nodes), "storageFree": 61 * GIB * len(nodes), "groups": len(self.groups) - 1,
                "operationsPerSecond": sum(values[f"operations.{name}"] for name in OPERATIONS),
                "operations": [{"operation": name, "perSecond": values[f"operations.{name}"], "errorsPerSecond": 0.0,
                                "p50Ms": values[f"p50Ms.{name}"], "p99Ms": values[f"p99Ms.{name}"]} for name in OPERATIONS],
                "fsync": {"perSecond": 30.0, "p50Ms": values["fsync.p50Ms"], "p99Ms": values["fsync.p99Ms"]},
                "replicationLag": {"entries": values["lagEntries"], "groupId": 100, "nodeId": 2},
                "leaderless": [gid for gid, group in self.groups.items() if group["leader"] is None], "withoutQuorum": without,
                "underReplicated": sorted({gid for gid, _ in self.missing})}

    def moves(self):
        return {"live": self.live, "history": self.history, "hold": self.hold, "waiting": self.waiting}

    def dashboard(self):
        error = self.controller_error
        return {"topology": self.topology(), "metrics": self.metrics(), "shards": self.shards, "moves": self.moves(), "events": self.events[:100],
                "status": {"sequence": self.sequence, "version": "0.1.0", "allowActions": self.allow_actions, "updateIntervalMs": self.interval_ms,
                           "collectedAt": stamp(self.collected), "clusterId": "5f0c1e9ab3d4476e8a20",
                           "controller": {"reachable": not error, "error": error[0] if error else None, "since": error[1] if error else None},
                           "missing": list(self.missing.values())}}

    def answer(self, path, query):
        one = {name: values[-1] for name, values in query.items()}
        if path == "/api/dashboard":
            return self.dashboard()
        if path == "/api/topology":
            return self.topology()
        if path == "/api/metrics":
            return self.metrics()
        if path == "/api/moves":
            return self.moves()
        if path == "/api/events":
            return {"events": self.events[:int(one.get("limit", 100))]}
        if path == "/api/history":
            since = (time.time() - int(one.get("window", 300))) * 1000
            chosen = [sample for sample in self.samples if sample[0] >= since]
            return {"intervalMs": self.interval_ms, "times": [at for at, _ in chosen], "series": {name: [values[name] for _, values in chosen] for name in self.samples[-1][1]}}
        if path == "/api/plan":
            return self.plan(one)
        if path.startswith("/api/shards/") and path.endswith("/content"):
            return self.content(int(path.split("/")[3]))
        if path == "/api/keys/get":
            key = base64.b64decode(one["keyBase64"]) if "keyBase64" in one else one.get("key", "").encode()
            where = {"shardId": len(key) % len(self.shards), "groupId": 100}
            if key not in self.keys:
                return {**self.bytes("key", key), "found": False, "value": None, "bytes": None, "truncated": False, **where}
            return {**self.bytes("key", key), "found": True, **self.bytes("value", self.keys[key]), "bytes": len(self.keys[key]), "truncated": False, **where}
        if path == "/api/keys/scan":
            return self.scan(one)
        raise Refusal(404, "not-found", f"there is no {path}")

    def plan(self, one):
        before = {gid: sum(shard["groupId"] == gid for shard in self.shards) for gid in self.groups if gid}
        after, moves = dict(before), []
        if "leave" in one:
            gone = int(one["leave"])
            if gone not in before:
                raise Refusal(404, "not-found", f"there is no group {gone}")
            del after[gone]
            for shard in self.shards:
                if shard["groupId"] == gone:
                    to = min(after, key=after.get)
                    after[to] += 1
                    moves.append({"shardId": shard["shardId"], "from": gone, "to": to})
        else:
            name, _, addresses = one.get("join", "").partition("=")
            if not name.isdigit() or not addresses:
                raise Refusal(400, "bad-request", "join is GID=HOST:PORT,HOST:PORT")
            after[int(name)] = 0
            staying = list(self.shards)
            for _ in range(len(self.shards) // len(after)):
                source = max(after, key=after.get)
                shard = next(each for each in staying if each["groupId"] == source)
                staying.remove(shard)
                after[source] -= 1
                after[int(name)] += 1
                moves.append({"shardId": shard["shardId"], "from": source, "to": int(name)})
        return {"moves": moves, "before": {str(gid): n for gid, n in before.items()}, "after": {str(gid): n for gid, n in after.items()}}

    def content(self, number):
        if not 0 <= number < len(self.shards):
            raise Refusal(404, "not-found", f"there is no shard {number}; shards are 0 to {len(self.shards) - 1}")
        shard = self.shards[number]
        nodes = self.groups[shard["groupId"]]["nodes"]
        return {"shardId": number, "groupId": shard["groupId"], "verdict": "agree", "replicas": [
            {"nodeId": node["id"], "address": node["address"], "hash": None if node["error"] else f"{number:032x}", "keys": None if node["error"] else shard["keys"],
             "appliedIndex": None if node["error"] else node["lastApplied"], "error": node["error"]} for node in nodes]}

    @staticmethod
    def bytes(name, content):
        try:
            return {name: content.decode()}
        except UnicodeDecodeError:
            return {f"{name}Base64": base64.b64encode(content).decode()}

    def scan(self, one):
        decoded = lambda name: base64.b64decode(one[name + "Base64"]) if name + "Base64" in one else one.get(name, "").encode()
        prefix, after, limit = decoded("prefix"), decoded("after"), int(one.get("limit", 100))
        keys = sorted(key for key in self.keys if key.startswith(prefix) and (not after or key > after))
        shown, more = keys[:limit], len(keys) > limit
        return {"pairs": [{**self.bytes("key", key), **self.bytes("value", self.keys[key]), "bytes": len(self.keys[key]), "truncated": False} for key in shown],
                "more": more, "afterBase64": base64.b64encode(shown[-1]).decode() if more else None}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    cluster = None

    def log_message(self, *_):
        pass

    def send(self, status, kind, body, **headers):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Cache-Control", "no-store")
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def send_json(self, status, body):
        self.send(status, "application/json", json.dumps(body).encode())

    def refuse(self, refusal):
        self.send_json(refusal.status, {"error": {"code": refusal.code, "message": str(refusal)}})

    def misbehaves(self, path):
        """True when the request has had what the test wants instead of an answer."""
        fault = self.cluster.fault
        if fault == "broken":
            self.close_connection = True
            return True
        if fault == "garbage" and path.startswith("/api/"):
            self.send(200, "application/json", b"{\"status\": 17, <html>")
            return True
        return False

    def do_GET(self):
        parts = urlsplit(self.path)
        try:
            if self.misbehaves(parts.path):
                return
            if parts.path == "/api/stream":
                self.stream()
            elif parts.path.startswith("/api/"):
                with self.cluster.lock:
                    try:
                        body = self.cluster.answer(parts.path, parse_qs(parts.query, keep_blank_values=True))
                    except Refusal as refusal:
                        return self.refuse(refusal)
                    except ValueError as error:
                        return self.refuse(Refusal(400, "bad-request", str(error)))
                    encoded = json.dumps(body).encode()
                self.send(200, "application/json", encoded)
            else:
                self.page(parts.path)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def page(self, path):
        name = "index.html" if path == "/" else path[1:]
        kind = TYPES.get(os.path.splitext(name)[1])
        if "/" in name or kind is None or not os.path.exists(os.path.join(PAGES, name)):
            return self.refuse(Refusal(404, "not-found", f"there is no {path}"))
        with open(os.path.join(PAGES, name), "rb") as file:
            self.send(200, kind, file.read())

    def stream(self):
        cluster = self.cluster
        if cluster.fault == "no-stream":
            return self.refuse(Refusal(503, "unavailable", "no streams here"))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        sent = None
        with cluster.lock:
            cluster.streams += 1
        try:
            while not self.server.stopping and cluster.fault is None:
                with cluster.lock:
                    if sent == cluster.sequence:
                        cluster.changed.wait(0.2)
                        continue
                    sent = cluster.sequence
                    line = json.dumps(cluster.dashboard())
                self.wfile.write(f"event: dashboard\ndata: {line}\n\n".encode())
                self.wfile.flush()
            if cluster.fault == "garbage":
                self.wfile.write(b"event: dashboard\ndata: {\"topology\": <b>\n\n")
        finally:
            with cluster.lock:
                cluster.streams -= 1

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        cluster = self.cluster
        with cluster.lock:
            cluster.posted.append({"path": self.path, "action": self.headers.get("X-Flotilla-Action"), "type": self.headers.get("Content-Type"), "body": json.loads(body)})
        if not cluster.allow_actions or self.headers.get("X-Flotilla-Action") != "move":
            return self.refuse(Refusal(403, "forbidden", "actions are off"))
        try:
            asked = json.loads(body)
            self.send_json(202, {"config": cluster.start_move(asked["shardId"], asked["groupId"]), "outcome": "begun"})
        except Refusal as refusal:
            self.refuse(refusal)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    stopping = False

    # A browser that goes away in the middle of an answer is no news.
    def handle_error(self, request, client_address):
        if not isinstance(sys.exc_info()[1], (BrokenPipeError, ConnectionResetError)):
            super().handle_error(request, client_address)


class Fixture:
    """A cluster and its server. It updates itself every interval unless `ticking` is false or it is frozen."""

    def __init__(self, ticking=True, port=0, **options):
        self.cluster = Cluster(**options)
        self.server = Server(("127.0.0.1", port), type("BoundHandler", (Handler,), {"cluster": self.cluster}))
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"
        self.stopped = threading.Event()
        self.threads = [threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)]
        if ticking:
            self.threads.append(threading.Thread(target=self._tick, daemon=True))
        for thread in self.threads:
            thread.start()

    def _tick(self):
        while not self.stopped.wait(self.cluster.interval_ms / 1000):
            if not self.cluster.frozen:
                self.cluster.update()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopped.set()
        self.server.stopping = True
        self.server.shutdown()
        self.server.server_close()


def main():
    parser = argparse.ArgumentParser(description="A server of the dashboard's pages with made-up data.")
    for name, default in [("groups", 3), ("replicas", 3), ("shards", 64), ("interval-ms", 1000)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--allow-actions", action="store_true")
    options = vars(parser.parse_args())
    with Fixture(**options) as fixture:
        print(fixture.url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            pass


if __name__ == "__main__":
    main()
