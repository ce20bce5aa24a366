"""The part of scripts/bench-verify that measures."""

import argparse
import glob
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time


def anonymous_kib(process):
    """Memory of a process that is no file's: what its limit counts."""
    try:
        with open(f"/proc/{process}/status") as status:
            return next((int(line.split()[1]) for line in status if line.startswith("RssAnon:")), 0)
    except (FileNotFoundError, ProcessLookupError):
        return 0


def children(process):
    """Of all its threads."""
    found = []
    for listed in glob.glob(f"/proc/{process}/task/*/children"):
        try:
            with open(listed) as words:
                found += [int(word) for word in words.read().split()]
        except (FileNotFoundError, ProcessLookupError):
            pass
    return found


def verify(tool, path, sealed):
    """Seconds, bytes, and the largest RssAnon of the child that reads, in KiB."""
    start = time.monotonic()
    process = subprocess.Popen([tool, "verify", path, "-w", "json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        for child in children(process.pid):
            peak = max(peak, anonymous_kib(child))
        time.sleep(0.005)
    seconds = time.monotonic() - start
    report = json.load(process.stdout)
    if process.returncode != 0 or report["verdict"] != ("good" if sealed else "unsealed"):
        sys.exit(f"bench-verify: {path}: {report}")
    return seconds, report["bytes"], peak


def scan(tool, path):
    """The same of a process that opens the directory, as `verify` does, and scans it."""
    start = time.monotonic()
    words = subprocess.run([tool, "speed", path], check=True, capture_output=True, text=True).stdout.split()
    return time.monotonic() - start, int(words[0])


def rate(measured):
    return measured[1] / measured[0] / (1 << 20)


def main():
    parser = argparse.ArgumentParser(prog="bench-verify")
    parser.add_argument("tool")
    parser.add_argument("--mib", type=int, default=1024)
    parser.add_argument("--value-bytes", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--engine", action="append")
    options = parser.parse_args()
    # The node serves three of four shards.
    keys = (options.mib << 20) // (options.value_bytes + 12) * 4 // 3
    root = tempfile.mkdtemp(prefix="flotilla-bench-verify-")
    print(f"{keys * 3 // 4} records of {options.value_bytes} bytes; median of {options.runs} runs, MiB/s")
    print(f"{'':10} {'scan':>8} {'verify':>8} {'':>6} {'snapshot':>9} {'':>6}  {'RssAnon MiB, directory':>22} {'snapshot':>9}")
    try:
        for engine in options.engine or ["rocksdb", "lmdb", "sqlite"]:
            directory, snapshot = f"{root}/{engine}", f"{root}/{engine}-snapshot"
            subprocess.run(
                [options.tool, "make", directory, "--engine", engine, "--keys", str(keys), "--value-bytes",
                 str(options.value_bytes), "--batch", "1000", "--compacts"], check=True)
            subprocess.run(
                [options.tool, "save", "--from", directory, "--out", snapshot], check=True, stdout=subprocess.DEVNULL)
            rows = []
            for number in range(options.runs + 1):
                row = scan(options.tool, directory), verify(options.tool, directory, False), \
                    verify(options.tool, snapshot, True)
                # The first fills the page cache.
                if number > 0:
                    rows.append(row)
            scanned, directories, snapshots = (
                statistics.median(rate(row[column]) for row in rows) for column in range(3))
            memory = [max(row[column][2] for row in rows) / 1024 for column in (1, 2)]
            print(
                f"{engine:10} {scanned:8.0f} {directories:8.0f} {100 * directories / scanned:4.0f} % {snapshots:9.0f} "
                f"{100 * snapshots / scanned:4.0f} %  {memory[0]:22.0f} {memory[1]:9.0f}", flush=True)
            shutil.rmtree(directory)
            shutil.rmtree(snapshot)
    finally:
        shutil.rmtree(root, ignore_errors=True)


main()
