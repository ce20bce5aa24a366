"""A backup's keys go into a live cluster, and nothing else of it changes."""

import json
import os
import signal
import subprocess
import time

from checks import check
from harness import PROGRAM, Cluster, require, wait_for
from restore_checks import back_up, checksums, furthest, stop

PREFIX = "monday/"


def backed_up(old, keys):
    """Fills a cluster, stops it, and makes a backup of it."""
    old.up()
    old.put_many(list(keys.items()))
    for gid in (100, 101):
        old.wait_replicas_agree(gid)
    stop(old.nodes)
    archive = os.path.join(old.path, "backup")
    back_up(old, [furthest(old, gid) for gid in (0, 100, 101)], archive)
    return archive


def into(archive, cluster, *arguments, prefix=PREFIX):
    return ["snapshot", "restore", "--from", archive, "--into", cluster.endpoints, "--prefix", prefix, *arguments]


@check(["rocksdb", "lmdb", "sqlite"])
def a_backup_goes_into_a_live_cluster_under_a_prefix(engine):
    other = {"rocksdb": "lmdb", "lmdb": "sqlite", "sqlite": "rocksdb"}[engine]
    keys = {f"key{number}": f"value{number}" for number in range(500)}
    with Cluster(other, shards=4) as old, Cluster(engine, shards=16) as live:
        archive = backed_up(old, keys)
        before = checksums(archive)
        live.up()
        mine = {f"key{number}": "mine" for number in range(100)}
        live.put_many(list(mine.items()))
        code, out, err = live.cli(*into(archive, live, "-w", "json"), timeout=120)
        require(code == 0, f"exit {code}: {err}")
        done = json.loads(out)
        require(done["keys"] == 500 and done["kept"] == 0 and not done["wasResumed"], f"summary: {done}")
        expected = {**mine, **{PREFIX + key: value for key, value in keys.items()}}
        require(live.contents() == expected, "contents differ")
        require(checksums(archive) == before, "the archive has changed")
        require(os.listdir(old.path).count("backup.restore-progress") == 0, "the progress file is left")

        # Again, with some keys changed since then: a note, and they keep what they have.
        live.run("kv", "put", PREFIX + "key3", "changed")
        live.run("kv", "delete", PREFIX + "key4")
        code, out, err = live.cli(*into(archive, live, "--existing", "keep"), timeout=120)
        require(code == 0 and b"499 of them were there" in out, f"exit {code}: {out}")
        require('holds keys under "monday/" already' in err, f"no note: {err}")
        require(live.get(PREFIX + "key3") == "changed" and live.get(PREFIX + "key4") == "value4", "keys differ")
        # In place, of a part.
        code, out, err = live.cli(
            "snapshot", "restore", "--from", archive, "--into", live.endpoints, "--in-place", "--only-prefix", "key9")
        require(code == 0 and b"11 keys" in out, f"in place: exit {code}: {out} {err}")
        contents = live.contents()
        require(contents["key9"] == "value9" and contents["key8"] == "mine", "in place: keys differ")

        # What can't be is refused before the first write.
        before = live.contents()
        for arguments, wanted, sentence in (
                (into(archive, live, prefix="p" * 476), 1, "would have more than 480 bytes"),
                (into(archive, live, "--only-prefix", "kye"), 1, 'no key that begins with "kye"'),
                (into(archive + "x", live), 1, "does not exist"),
                (into(old.group(100)[0].directory, live), 1, "snapshot save --from"),
                (into(archive, live, prefix=""), 64, "--in-place"),
                (into(archive, live)[:-2], 64, "--in-place")):
            code, _, err = live.cli(*arguments)
            require(code == wanted and sentence in err, f"exit {code}: {err}")
        chunk = os.path.join(archive, "group-101", "0", "0.chunk")
        with open(chunk, "r+b") as file:
            byte = file.read(61)[60]
            file.seek(60)
            file.write(bytes([byte ^ 1]))
        code, _, err = live.cli(*into(archive, live))
        require(code == 2 and "group-101/0/0.chunk" in err, f"a damaged backup: exit {code}: {err}")
        require(live.contents() == before, "a refused restore has written")


def started(live, arguments):
    """A restore that has written something, and says so in its progress."""
    process = subprocess.Popen([PROGRAM, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    wait_for("some keys", lambda: len(live.contents()) >= 60)
    return process


def acknowledged(progress):
    with open(progress, "rb") as file:
        return json.loads(file.read().split(b"\n", 1)[1])["keys"]


@check(["mixed"])
def an_interrupted_restore_goes_on(engine):
    keys = {f"key{number}": f"value{number}" for number in range(1000)}
    expected = {PREFIX + key: value for key, value in keys.items()}
    with Cluster("lmdb", shards=4) as old, Cluster(engine) as live, Cluster("rocksdb", groups=(100,), replicas=1,
                                                                           controllers=1) as foreign:
        archive = backed_up(old, keys)
        live.up()
        progress = archive + ".restore-progress"
        # Killed in the middle.
        process = started(live, into(archive, live, "--rate", "100"))
        wait_for("progress", lambda: acknowledged(progress) >= 50)
        process.kill()
        process.communicate()
        require(50 <= acknowledged(progress) < 1000 and live.contents().items() <= expected.items(), "not in the middle")
        # What isn't the same restore doesn't go on from there.
        foreign.up()
        for arguments, sentence in (
                (into(archive, foreign), "is into cluster"),
                (into(archive, live, prefix="mondya/"), 'is under the prefix "monday/"'),
                (into(archive, live, "--only-prefix", "key1"), "is of all keys")):
            code, _, err = live.cli(*arguments)
            require(code == 1 and sentence in err and progress in err, f"exit {code}: {err}")
        require(foreign.contents() == {}, "the wrong cluster was written to")
        # Ctrl-C says how far it is.
        process = started(live, into(archive, live, "--rate", "100"))
        before = acknowledged(progress)
        wait_for("more progress", lambda: acknowledged(progress) > before)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        require(process.returncode == 130 and b"repeat the command to go on" in err, f"{process.returncode}: {err}")
        before = acknowledged(progress)
        require(before < 1000, "not in the middle")
        code, out, err = live.cli(*into(archive, live), timeout=120)
        require(code == 0 and f"going on after {before} of 1000 keys" in err, f"exit {code}: {err}")
        require(b"1000 keys" in out and live.contents() == expected, f"contents differ: {out}")
        require(not os.path.exists(progress), "the progress file is left")


@check(["mixed"], slow="it waits until a restore gives up")
def a_restore_waits_for_a_cluster_that_is_away(engine):
    keys = {f"key{number}": f"value{number}" for number in range(600)}
    expected = {PREFIX + key: value for key, value in keys.items()}
    with Cluster("rocksdb", shards=4) as old, Cluster(engine) as live:
        archive = backed_up(old, keys)
        live.up()
        progress = archive + ".restore-progress"
        process = started(live, into(archive, live, "--rate", "100", "--timeout", "12"))
        for node in live.group(100) + live.group(101):
            node.kill()
        start = time.monotonic()
        _, err = process.communicate(timeout=60)
        require(process.returncode == 69, f"exit {process.returncode}: {err}")
        require(b"trying again, for 12 seconds at most" in err and b"repeat the command to go on" in err, f"{err}")
        require(time.monotonic() - start < 60, "it took long to give up")
        require(acknowledged(progress) < 600, "not in the middle")
        # It goes on while the groups come back.
        process = subprocess.Popen(
            [PROGRAM, *into(archive, live, "--timeout", "90")], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        time.sleep(1)
        live.start()
        _, err = process.communicate(timeout=120)
        require(process.returncode == 0, f"exit {process.returncode}: {err}")
        live.ready()
        require(live.contents() == expected, "contents differ")
        # Nobody at the endpoints.
        code, _, err = live.cli(
            "snapshot", "restore", "--from", archive, "--into", "127.0.0.1:1", "--prefix", "p", "--timeout", "4")
        require(code == 69 and "no controller answers at 127.0.0.1:1" in err and "nothing was written" in err,
                f"exit {code}: {err}")
