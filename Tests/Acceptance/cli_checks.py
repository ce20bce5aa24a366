"""The command line: what it takes, what it says, and where that goes, also where nobody takes it."""

import base64
import json
import os
import pty
import select
import signal
import subprocess
import time

from checks import check
from harness import PROGRAM, ROOT, Cluster, require, wait_for

# What a program that has crashed leaves behind.
CRASH = ("Fatal error", "Crash", "*** ", "Backtrace", "Thread 0")


def small(engine, **more):
    """A cluster for checks of the program that asks it."""
    return Cluster(engine, groups=(100,), replicas=1, controllers=1, shards=4, **more)


def environment(cluster):
    return dict(os.environ, FLOTILLA_ENDPOINTS=cluster.endpoints)


def redirected(cluster, redirections, *arguments, stdin=None):
    """Runs the program as a shell does with these redirections."""
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" ' + redirections, "sh", PROGRAM, *arguments], input=stdin, capture_output=True,
        timeout=60, env=environment(cluster))
    return done.returncode, done.stdout, done.stderr.decode(errors="replace")


def require_no_crash(words, code, err):
    require(code in (0, 1, 2, 64, 69, 75) and not any(mark in err for mark in CRASH), f"{words}: exit {code}: {err}")


def stopped_node(cluster):
    """The directory of a node that has been stopped for good, with what was acknowledged."""
    node = cluster.group(100)[0]
    node.kill(signal.SIGTERM)
    return node.directory


@check(["rocksdb"])
def output_that_cannot_be_written_is_no_success(engine):
    with small(engine).up() as cluster:
        cluster.put_many([(f"key{number}", "v" * 100) for number in range(1000)])
        # Name, input, and whether something is done that can't be told.
        commands = [
            (("kv", "scan"), None, False), (("kv", "scan", "-w", "json"), None, False),
            (("kv", "get", "key1"), None, False), (("kv", "get", "key1", "-w", "json"), None, False),
            (("kv", "put", "mine", "1"), None, True), (("kv", "append", "mine", "1", "-w", "json"), None, True),
            (("kv", "cas", "mine", "11", "12"), None, True), (("kv", "delete", "key2"), None, True),
            (("kv", "batch"), b"get key1\nget key3\n", False), (("kv", "batch", "-w", "json"), b"get key1\n", False),
            (("controller", "query"), None, False), (("controller", "query", "-w", "json"), None, False),
            (("controller", "status"), None, False), (("group", "status"), None, False),
            (("group", "status", "-w", "json"), None, False), (("group", "member", "list", "--gid", "100"), None, False),
            (("bench", "count", "10"), None, False), (("--help",), None, False), (("--version",), None, False),
            (("kv", "put", "--help"), None, False),
        ]
        for target, reason in ((">/dev/full", "No space left on device"), (">&-", "it is closed")):
            for words, stdin, is_done in commands:
                code, _, err = redirected(cluster, target, *words, stdin=stdin)
                require_no_crash(words, code, err)
                require(code == 1, f"{words} {target}: exit {code}: {err}")
                require(f"can't write to standard output: {reason}" in err, f"{words} {target}: {err}")
                require(("is done" in err) == is_done, f"{words} {target}: {err}")
            require(cluster.get("mine") == "12" and cluster.get("key2") is None, "what is done isn't")
            cluster.run("kv", "delete", "mine")
            cluster.run("kv", "put", "key2", "v")
        # A command with nothing to say has lost nothing.
        code, _, err = redirected(cluster, ">&-", "kv", "get", "absent")
        require(code == 2, f"an absent key: exit {code}: {err}")
        # The names of eRaft's programs.
        done = subprocess.run([os.path.join(ROOT, "output", "shardkvclient"), "-help"], stdout=open("/dev/full", "wb"),
                              stderr=subprocess.PIPE, timeout=60)
        require(done.returncode == 1, f"usage: exit {done.returncode}: {done.stderr}")
        # What measures engines, each in a process of its own.
        for target in (">/dev/full", ">&-"):
            code, _, err = redirected(
                cluster, target, "bench", "engines", "--engines", "lmdb", "--work", "get", "--seconds", "0.01", "--rounds", "1",
                "--keys", "1000", "--batch", "1")
            require(code == 1 and "can't write to standard output" in err, f"bench engines {target}: exit {code}: {err}")
        # What reads in a child process finds the streams as its parent found them.
        directory = stopped_node(cluster)
        for words in (("keys", directory), ("inspect", directory), ("verify", directory), ("get", directory, "key1")):
            for target in (">/dev/full", ">&-"):
                code, _, err = redirected(cluster, target, "snapshot", *words)
                require(code == 1 and "can't write to standard output" in err, f"{words} {target}: exit {code}: {err}")
        # An archive stays though nobody can be told of it.
        for target in (">/dev/full", ">&-"):
            out = os.path.join(cluster.path, "saved" + target[-1])
            code, _, err = redirected(cluster, target, "snapshot", "save", "--from", directory, "--out", out)
            require(code == 1, f"save {target}: exit {code}: {err}")
            cluster.run("snapshot", "verify", out)


@check(["rocksdb"])
def a_live_save_stays_though_nobody_can_be_told(engine):
    with small(engine).up() as cluster:
        cluster.run("kv", "put", "k", "v")
        node = cluster.group(100)[0]
        commands = {
            "saved": ("snapshot", "save", "--endpoint", node.address, "--out"),
            "backup": ("backup", "create", "--controllers", cluster.endpoints, "--out"),
        }
        for name, words in commands.items():
            out = os.path.join(cluster.path, name)
            code, _, err = redirected(cluster, ">/dev/full", *words, out)
            require(code == 1 and "can't write to standard output" in err, f"{name}: exit {code}: {err}")
            cluster.run("snapshot", "verify", out)
        require("hold" not in cluster.query(), "the backup left its hold")


@check(["rocksdb"])
def a_reader_that_goes_away_ends_a_command_quietly(engine):
    with small(engine).up() as cluster:
        pairs = [(f"key{number:05}", "v" * 300) for number in range(3000)]
        cluster.put_many(pairs)

        def first_line(*arguments, stdin=None):
            process = subprocess.Popen(
                [PROGRAM, *arguments], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env=environment(cluster))
            try:
                line = process.stdout.readline()
                process.stdout.close()
                err = process.stderr.read().decode(errors="replace")
                return line, process.wait(timeout=60), err
            finally:
                process.kill()
                process.wait(timeout=60)
                process.stderr.close()

        for more in ((), ("--keys-only",), ("-w", "json")):
            words = ("kv", "scan", "--limit", "100000", *more)
            line, code, err = first_line(*words)
            require(code == 0 and not err and line, f"{words}: exit {code}: {line[:80]!r}: {err}")
        # All lines of a batch were read: it ends as it would have.
        path = os.path.join(cluster.path, "lines")
        with open(path, "wb") as file:
            file.write(b"".join(b"get %s\n" % key.encode() for key, _ in pairs))
        with open(path, "rb") as file:
            line, code, err = first_line("kv", "batch", stdin=file)
        require(line == b"v" * 300 + b"\n" and code in (0, 1), f"batch: exit {code}: {line[:80]!r}: {err}")
        require((code == 0) == (not err), f"batch: exit {code}: {err}")
        # More would come: what wasn't carried out is no success.
        process = subprocess.Popen(
            [PROGRAM, "kv", "batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(cluster))
        try:
            process.stdin.write(b"get key00001\n")
            process.stdin.flush()
            process.stdout.readline()
            process.stdout.close()
            process.stdin.write(b"get key00002\n")
            process.stdin.flush()
            err = process.stderr.read().decode(errors="replace")
            code = process.wait(timeout=60)
        finally:
            process.kill()
            process.wait(timeout=60)
            process.stdin.close()
            process.stderr.close()
        require(code == 1 and "nobody reads the results" in err and "2 lines" in err, f"batch: exit {code}: {err}")
        directory = stopped_node(cluster)
        for words in (("snapshot", "scan", directory), ("snapshot", "dump", directory)):
            line, code, err = first_line(*words)
            require(code == 0 and not err and line, f"{words}: exit {code}: {line[:80]!r}: {err}")


@check(["rocksdb", "lmdb", "sqlite"])
def closed_streams_break_nothing(engine):
    with small(engine).up() as cluster:
        cluster.run("kv", "put", "k", "v")
        for target in ("<&-", "2>&-", "<&- 2>&-"):
            code, out, err = redirected(cluster, target, "kv", "get", "k")
            require((code, out, err) == (0, b"v\n", ""), f"{target}: exit {code}: {out} {err}")
            code, out, _ = redirected(cluster, target, "kv", "get", "absent")
            require((code, out) == (2, b""), f"{target}, absent: exit {code}: {out}")
            code, _, _ = redirected(cluster, target, "kv", "get", "k", "--timeout", "nan")
            require(code == 64, f"{target}, usage: exit {code}")
        # An input that isn't there is not an empty value, or no lines.
        for words in (("kv", "put", "k", "-"), ("kv", "append", "k", "-"), ("kv", "batch")):
            code, _, err = redirected(cluster, "<&-", *words)
            require(code == 1 and "can't read standard input: it is closed" in err, f"{words}: exit {code}: {err}")
        code, _, err = redirected(cluster, "</", "kv", "put", "k", "-")
        require(code == 1 and "can't read standard input" in err, f"a directory: exit {code}: {err}")
        require(cluster.get("k") == "v", "the value has changed")
        # A node without any of them: no file of its engine has their numbers.
        node = cluster.group(100)[0]
        node.kill(signal.SIGTERM)
        node.process = subprocess.Popen(
            ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", PROGRAM, *node.arguments()], env=environment(cluster))
        cluster.ready()
        require(cluster.get("k") == "v", "the value is lost")
        for descriptor in range(3):
            found = os.readlink(f"/proc/{node.process.pid}/fd/{descriptor}")
            require(found == "/dev/null", f"descriptor {descriptor} of the node is {found}")
        node.kill(signal.SIGTERM)
        # The same of what reads in a child process.
        for target in ("<&-", "2>&-", "<&- 2>&-"):
            code, out, err = redirected(cluster, target, "snapshot", "get", node.directory, "k")
            require((code, out) == (0, b"v\n"), f"snapshot get {target}: exit {code}: {out} {err}")
        cluster.run("snapshot", "verify", node.directory)


@check(["rocksdb"])
def a_pipe_that_does_not_block_gets_all_and_gives_all(engine):
    with small(engine).up() as cluster:
        cluster.put_many([(f"key{number:05}", "v" * 300) for number in range(3000)])
        words = ("kv", "scan", "--limit", "100000")
        expected = cluster.run(*words)
        require(len(expected) > 900_000, f"only {len(expected)} bytes")
        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        try:
            process = subprocess.Popen(
                [PROGRAM, *words], stdout=writing, stderr=subprocess.PIPE, env=environment(cluster))
        finally:
            os.close(writing)
        # The pipe is full long before the first byte is taken.
        time.sleep(2)
        with open(reading, "rb") as pipe:
            out = pipe.read()
        err = process.stderr.read().decode(errors="replace")
        process.stderr.close()
        require(process.wait(timeout=60) == 0 and not err, f"exit {process.returncode}: {err}")
        require(out == expected, f"{len(out)} of {len(expected)} bytes came")
        # Input that isn't there yet is no end.
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            process = subprocess.Popen(
                [PROGRAM, "kv", "batch"], stdin=reading, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                env=environment(cluster))
        finally:
            os.close(reading)
        time.sleep(0.5)
        with open(writing, "wb") as pipe:
            pipe.write(b"get key00001\n")
        out, err = process.communicate(timeout=60)
        require(process.returncode == 0 and out == b"v" * 300 + b"\n", f"exit {process.returncode}: {out[:50]} {err}")


@check(["rocksdb", "lmdb", "sqlite"])
def keys_and_values_are_the_bytes_that_were_typed(engine):
    keys = [b"\xff", b"\xfe", b"\x80", "\ufffd".encode(), b"a\xc3", b"a\xc3\x28", b"\xed\xa0\x80", b"\xf4\x8f\x9e\x80",
            "é".encode(), "e\u0301".encode(), b"\xffkey", b"\xff\xcc\x81"]
    with small(engine).up() as cluster:
        for key in keys:
            code, out, err = cluster.cli("kv", "put", key, b"v:" + key)
            require((code, out) == (0, b"OK\n"), f"put {key}: exit {code}: {err}")
        for key in keys:
            code, out, err = cluster.cli("kv", "get", key)
            require((code, out) == (0, b"v:" + key + b"\n"), f"get {key}: exit {code}: {out} {err}")
        rows = cluster.json("kv", "scan")
        found = [base64.b64decode(row["keyBase64"]) if "keyBase64" in row else row["key"].encode() for row in rows]
        require(found == sorted(keys), f"the keys are {found}")
        code, out, err = cluster.cli("kv", "scan", "--keys-only", b"--prefix=\xff")
        require((code, out) == (0, b"\xff\n\xffkey\n\xff\xcc\x81\n"), f"the prefix ff: exit {code}: {out} {err}")
        code, out, err = cluster.cli("kv", "scan", "--keys-only", "--start", b"\xfe", "--end", b"\xff")
        require((code, out) == (0, b"\xfe\n"), f"from fe to ff: exit {code}: {out} {err}")
        code, _, err = cluster.cli("kv", "cas", b"\xff", b"v:\xfe", b"wrong")
        require(code == 2, f"cas of another value: exit {code}: {err}")
        code, _, err = cluster.cli("kv", "cas", b"\xff", b"v:\xff", b"\xfd")
        require(code == 0, f"cas: exit {code}: {err}")
        code, out, err = cluster.cli("kv", "append", b"\xff", b"\xfc")
        require((code, out) == (0, b"2\n"), f"append: exit {code}: {out} {err}")
        code, out, _ = cluster.cli("kv", "get", b"\xff")
        require(out == b"\xfd\xfc\n", f"the value is {out}")
        code, _, err = cluster.cli("kv", "delete", b"\xfe")
        require(code == 0, f"delete: exit {code}: {err}")
        require(cluster.cli("kv", "get", b"\xfe")[0] == 2 and cluster.cli("kv", "get", b"\x80")[0] == 0, "another key went")
        # eRaft's program passes them on.
        done = subprocess.run(
            [os.path.join(ROOT, "output", "shardkvclient"), "get", b"\xffkey"], capture_output=True, timeout=60,
            env=environment(cluster))
        require(done.stdout == b"v:\xffkey\n", f"shardkvclient: {done}")
        # What goes wrong with one is said with its bytes.
        done = subprocess.run([PROGRAM, "kv", "get", b"\xffa", b"\xffb"], capture_output=True, timeout=60)
        require(done.returncode == 64 and b"\xffb" in done.stderr, f"two keys: {done}")
        # Paths are text.
        for words in ((b"snapshot", b"inspect", b"/tmp/\xff"), (b"snapshot", b"save", b"--from", b"/tmp/\xff", b"--out", b"/tmp/x"),
                      (b"group", b"recover", b"--db", b"/tmp/\xff")):
            done = subprocess.run([PROGRAM, *words], capture_output=True, timeout=60)
            require(done.returncode == 64 and b"not UTF-8" in done.stderr and b"/tmp/\xff" in done.stderr, f"{words}: {done}")
        # A stopped node is asked in the same way.
        directory = stopped_node(cluster)
        code, out, err = cluster.cli("snapshot", "get", directory, b"\xffkey")
        require((code, out) == (0, b"v:\xffkey\n"), f"snapshot get: exit {code}: {out} {err}")
        code, out, err = cluster.cli("snapshot", "keys", directory, "--prefix", b"\xff")
        require(code == 0 and len(out.splitlines()) == 3, f"snapshot keys: exit {code}: {out} {err}")


# What is refused as usage, and a part of the sentence: the numbers that are taken, or what an address is.
MISTAKES = [
    *((f"kv get k --timeout={time}", "0.1 to 86400") for time in ("nan", "inf", "-inf", "1e20", "-1", "0", "abc", "")),
    *((f"bench cluster --seconds={time}", "0.1 to 86400") for time in ("nan", "inf", "1e20", "-1")),
    ("bench cluster --key-space=0", "1 to 1000000000"), ("bench cluster --key-space=-1", "1 to 1000000000"),
    ("bench cluster --count=0", "1 to 1000000000"), ("bench cluster --streams=0", "1 to 256"),
    ("bench cluster --streams=9223372036854775807", "1 to 256"), ("bench cluster --value-size=0", "1 to 8388608"),
    ("bench cluster --clients=0", "1 to 1024"), ("bench count 0", "1 to 1000000000"), ("bench count 5 0", "1 to 1024"),
    ("bench engines --seconds=nan", "0.01 to 600"), ("bench engines --fill-mib=9223372036854775807", "1 to 65536"),
    ("local --base-port=9223372036854775807", "1 to "), ("local --base-port=-9223372036854775808", "1 to "),
    ("local --base-port=9223372036854775808", "65535"), ("local --base-port=0", "1 to "),
    ("local --groups=9223372036854775807", "1 to 32"), ("local --replicas=0", "1 to 9"), ("local --shards=0", "1 to 1024"),
    ("local --retain=18446744073709551615", "0 to 1000000000000"), ("local --dashboard-port=65536", "0 to 65535"),
    ("dashboard --port=-1", "0 to 65535"), ("dashboard --update-interval=nan", "100ms to 1m"),
    ("kv scan --limit=0", "1 to 100000000"), ("kv scan --limit=-5", "1 to 100000000"), ("kv scan --limit=x", "1 to 100000000"),
    ("kv scan --start=b --end=a", "--start is behind --end"),
    ("controller serve --id=0 --cluster=a:1 --db=d --shards=1025", "1 to 1024"),
    ("controller serve --id=18446744073709551615 --cluster=a:1 --db=d", "nodes 0 to 0"),
    ("group serve --gid=1 --id=0 --cluster=a:1 --db=d --http-port=-1", "0 to 65535"),
    ("group serve --gid=1 --id=0 --cluster=a:1 --db=d --retain=18446744073709551615", "0 to 1000000000000"),
    ("group serve --gid=0 --id=0 --cluster=a:1 --db=d", "--gid 0"),
    ("group serve --gid=1 --id=0 --cluster=a --db=d", "HOST:PORT"),
    ("group serve --gid=1 --id=0 --cluster=a:1 --db=d --controllers=,", "HOST:PORT"),
    ("group serve --gid=1 --id=0 --cluster=a:1 --db=d --listen=a", "IP:PORT"),
    ("backup create --out=o --controllers=a:1 --move-timeout=-1", "0 to 86400"),
    ("backup create --out=o --controllers=a:0", "HOST:PORT"), ("backup create --out=o --controllers=,", "HOST:PORT"),
    ("snapshot keys dir --timeout=nan", "0.1 to 86400"), ("snapshot keys dir --memory=0", "128 to 1048576"),
    ("snapshot keys dir --limit=0", "1 to 1000000000"), ("snapshot diff a b --limit=-1", "0 to 1000000"),
    ("snapshot inspect dir --biggest=-1", "0 to 1000"), ("snapshot save --out=o --endpoint=a", "HOST:PORT"),
    ("snapshot restore --from=a --into=a:1 --prefix=p --rate=nan", "0.1 to 1000000000"),
    ("snapshot restore --from=a --into=a:1 --prefix=p --timeout=nan", "0.1 to 86400"),
    ("snapshot restore --from=a --into=,, --prefix=p", "HOST:PORT"),
    ("snapshot restore --from=a --out=o --controllers=a", "HOST:PORT"),
    ("snapshot restore --from=a --out=o --controllers=a:1 --group=1=a", "HOST:PORT"),
    *((f"kv get k --endpoints={text}", "HOST:PORT") for text in (
        "", ",,", "nowhere", "a:0", "a:65536", "10.0.0.256:1", "http://a:1", "a:1,b", ":1")),
    ("controller query --endpoints=,,", "HOST:PORT"), ("controller join 100=localhost", "HOST:PORT"),
    ("controller join 100=", "HOST:PORT"), ("controller join 0=a:1", "above 0"), ("controller join xyz", "is not GID="),
    ("controller join 100=a:1 100=b:1", "named twice"), ("group status --node=a", "HOST:PORT"),
    ("group member list", "--gid or --node"), ("group member add 3 a --gid=1", "HOST:PORT"),
    ("group member replace 3 a --gid=1", "HOST:PORT"), ("dashboard --controllers=,", "HOST:PORT"),
]


@check(["rocksdb"])
def a_value_that_an_option_does_not_take_is_usage(engine):
    plain = {name: value for name, value in os.environ.items() if name != "FLOTILLA_ENDPOINTS"}
    for words, sentence in MISTAKES:
        done = subprocess.run([PROGRAM, *words.split(" ")], capture_output=True, timeout=60, env=plain,
                              stdin=subprocess.DEVNULL)
        err = done.stderr.decode(errors="replace")
        require_no_crash(words, done.returncode, err)
        require(done.returncode == 64 and sentence in err, f"{words}: exit {done.returncode}: {err}")
        require(done.stdout == b"", f"{words}: {done.stdout}")
    for variable in (",,", "nowhere", "a:0"):
        done = subprocess.run([PROGRAM, "kv", "get", "k"], capture_output=True, timeout=60,
                              env=dict(plain, FLOTILLA_ENDPOINTS=variable))
        require(done.returncode == 64 and b"FLOTILLA_ENDPOINTS" in done.stderr, f"{variable}: {done}")
    done = subprocess.run([os.path.join(ROOT, "output", "flotilla-sim"), "--seeds", "0..18446744073709551615"],
                          capture_output=True, timeout=60)
    require(done.returncode == 64 and b"at most" in done.stderr, f"flotilla-sim: {done}")
    # What looks like an option and is a key.
    for words, form in ((("put", "k", "-v"), "flotilla kv put -- KEY VALUE"), (("get", "-k"), "flotilla kv get -- KEY"),
                        (("append", "k", "-5"), "flotilla kv append -- KEY VALUE")):
        done = subprocess.run([PROGRAM, "kv", *words], capture_output=True, timeout=60, env=plain)
        require(done.returncode == 64 and form.encode() in done.stderr, f"{words}: {done}")


@check(["rocksdb"])
def a_scan_says_what_it_leaves_out(engine):
    with small(engine).up() as cluster:
        cluster.put_many([(f"key{number}", "v") for number in range(10)] + [("kez", "v"), ("a", "v")])

        def keys(*arguments):
            code, out, err = cluster.cli("kv", "scan", "--keys-only", *arguments)
            require(code == 0, f"scan {arguments}: exit {code}: {err}")
            return out.decode().split(), err

        for arguments, wanted in (
                (("--prefix", "key"), [f"key{number}" for number in range(10)]),
                (("--prefix", "key", "--start", "key7"), ["key7", "key8", "key9"]),
                (("--prefix", "key", "--end", "key2"), ["key0", "key1"]),
                (("--prefix", "key", "--start", "key3", "--end", "key5"), ["key3", "key4"]),
                (("--prefix", "key", "--start", "a", "--end", "z"), [f"key{number}" for number in range(10)]),
                (("--prefix", "key", "--start", "x"), []), (("--prefix", "key", "--end", "a"), []),
                (("--start", "key9", "--end", "key9"), [])):
            found, err = keys(*arguments)
            require(found == wanted and not err, f"scan {arguments}: {found} {err}")
        require(cluster.json("kv", "scan", "--prefix", "key", "--start", "x") == [], "nothing isn't an empty list")
        cluster.put_many([(f"many{number:05}", "v") for number in range(1000)])
        found, err = keys("--prefix", "many")
        require(len(found) == 1000 and not err, f"of 1000 keys: {len(found)} {err}")
        cluster.run("kv", "put", "many99999", "v")
        found, err = keys("--prefix", "many")
        require(len(found) == 1000 and found[-1] == "many00999", f"of 1001 keys: {len(found)}, last {found[-1]}")
        require("there are more keys" in err and "--limit" in err, f"no note: {err}")
        for limit, count in ((1001, 1001), (5000, 1001), (3, 3)):
            found, err = keys("--prefix", "many", "--limit", str(limit))
            require(len(found) == count and not err, f"limit {limit}: {len(found)} {err}")


@check(["rocksdb"])
def a_terminal_gets_no_control_characters(engine):
    with small(engine).up() as cluster:
        for key, value in ((b"evil\x1b]0;title\x07", b"\x1b[2J\xc2\x9b1m\r"), (b"good", "Schlüssel\tя".encode())):
            code, _, err = cluster.cli("kv", "put", key, value)
            require(code == 0, f"put {key}: exit {code}: {err}")

        def shown(*arguments, stdin=subprocess.DEVNULL):
            ours, theirs = pty.openpty()
            try:
                process = subprocess.Popen(
                    [PROGRAM, *arguments], stdin=stdin, stdout=theirs, stderr=subprocess.PIPE, env=environment(cluster))
            finally:
                os.close(theirs)
            out = b""
            try:
                while select.select([ours], [], [], 60)[0]:
                    try:
                        piece = os.read(ours, 65536)
                    except OSError:
                        break  # The other end is closed.
                    if not piece:
                        break
                    out += piece
            finally:
                os.close(ours)
            _, err = process.communicate(timeout=60)
            require(process.returncode == 0, f"{arguments}: exit {process.returncode}: {err}")
            return out.replace(b"\r\n", b"\n")

        out = shown("kv", "scan")
        require(b"\x1b" not in out and b"\x07" not in out and b"\xc2\x9b" not in out and b"\r" not in out, f"scan: {out}")
        require(b"evil\\x1b]0;title\\x07\t\\x1b[2J\\xc2\\x9b1m\\x0d\n" in out, f"scan: {out}")
        require("good\tSchlüssel\\x09я\n".encode() in out, f"scan: {out}")
        require(shown("kv", "get", b"evil\x1b]0;title\x07") == b"\\x1b[2J\\xc2\\x9b1m\\x0d\n", "get")
        require(shown("kv", "get", "good") == "Schlüssel\tя\n".encode(), "get of text")
        path = os.path.join(cluster.path, "lines")
        with open(path, "wb") as file:
            file.write(b"get evil\x1b]0;title\x07\n")
        with open(path, "rb") as file:
            require(shown("kv", "batch", stdin=file) == b"\\x1b[2J\\xc2\\x9b1m\\x0d\n", "batch")
        # Elsewhere bytes are bytes.
        out = cluster.run("kv", "scan", "--prefix", "evil")
        require(out == b"evil\x1b]0;title\x07\t\x1b[2J\xc2\x9b1m\r\n", f"scan into a pipe: {out}")


@check(["rocksdb"])
def a_batch_answers_every_line(engine):
    with small(engine).up() as cluster:
        lines = b"put a 1\r\nget a\r\n\r\nget a\nnonsense\ncas a 1 2\nget a\nput b -v\r\nget b"
        code, out, err = cluster.cli("kv", "batch", "--in-order", stdin=lines)
        found = out.split(b"\n")
        require(code == 64 and found.pop() == b"" and len(found) == 9, f"exit {code}: {out} {err}")
        require(found[2].startswith(b"error: the line is empty") and b'"nonsense" is no operation' in found[4], f"{out}")
        require([found[place] for place in (0, 1, 3, 5, 6, 7, 8)] == [b"OK", b"1", b"1", b"OK", b"2", b"OK", b"-v"], f"{out}")
        require(cluster.run("kv", "get", "a") == b"2\n", "the carriage return is in the value")
        code, out, err = cluster.cli("kv", "batch", "--in-order", "-w", "json", stdin=lines)
        rows = [json.loads(line) for line in out.splitlines()]
        require(code == 64 and [row["exitCode"] for row in rows] == [0, 0, 64, 0, 64, 0, 0, 0, 0], f"exit {code}: {rows}")
        # Lines wait for nobody: each has its answer before the next one comes, also in a pipe.
        process = subprocess.Popen(
            [PROGRAM, "kv", "batch"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment(cluster))
        try:
            for number in range(20):
                process.stdin.write(b"append c x\r\n")
                process.stdin.flush()
                require(select.select([process.stdout], [], [], 30)[0], f"no answer to line {number}")
                line = process.stdout.readline()
                require(line == b"%d\n" % (number + 1), f"line {number}: {line}")
            process.stdin.close()
            require(process.wait(timeout=60) == 0, f"exit {process.returncode}")
        finally:
            process.kill()
            process.wait(timeout=60)
            process.stdout.close()
        # One without an end is a mistake, and not the memory's.
        code, out, err = cluster.cli("kv", "batch", stdin=b"get a\n" + b"x" * (20 << 20) + b"\nget a\n", timeout=120)
        found = out.split(b"\n")
        require(code == 64 and found[0] == b"2" and found[1].startswith(b"error: the line is longer") and found[2] == b"2",
                f"a long line: exit {code}: {out[:200]} {err}")
        code, out, err = cluster.cli("kv", "batch", stdin=b"")
        require((code, out, err) == (0, b"", ""), f"no lines: exit {code}: {out} {err}")


@check(["rocksdb"])
def a_batch_goes_on_beside_a_group_that_hangs(engine):
    with Cluster(engine, groups=(100, 101), replicas=1, controllers=1, shards=16).up() as cluster:
        keys = [f"key{number}" for number in range(64)]
        hanging = cluster.group(100)[0]
        hanging.signal(signal.SIGSTOP)
        process = None
        try:
            code, out, _ = cluster.cli(
                "kv", "batch", "--timeout", "3", stdin="".join(f"get {key}\n" for key in keys).encode())
            answers = out.decode().splitlines()
            require(len(answers) == len(keys), f"{len(answers)} answers: exit {code}")
            lost = [key for key, answer in zip(keys, answers) if answer.startswith("error")]
            served = [key for key, answer in zip(keys, answers) if answer == "(absent)"]
            require(lost and served and len(lost) + len(served) == len(keys), f"answers: {answers}")
            process = subprocess.Popen(
                [PROGRAM, "kv", "batch", "--timeout", "60"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                env=environment(cluster))
            count = 3000
            process.stdin.write(f"put {lost[0]} late\n".encode() + f"append {served[0]} x\n".encode() * count)
            process.stdin.close()
            wait_for("the lines of the other group", lambda: cluster.get(served[0]) == "x" * count, 40)
            require(not select.select([process.stdout], [], [], 0)[0], "a result came before those of the lines before it")
            hanging.signal(signal.SIGCONT)
            answers = process.stdout.read().decode().splitlines()
            require(process.wait(timeout=60) == 0, f"exit {process.returncode}")
            require(answers[0] == "OK" and sorted(map(int, answers[1:])) == list(range(1, count + 1)), f"{answers[:5]}")
            require(cluster.get(lost[0]) == "late", "the first line is lost")
        finally:
            hanging.signal(signal.SIGCONT)
            if process is not None:
                process.kill()
                process.wait(timeout=60)
                process.stdout.close()
