"""Runs checks side by side: each in a process of its own, whose output comes in one piece when it has ended.

A check's process adopts whatever its check leaves running (Linux' subreapers) and ends it; the runner does the same for
a process that didn't get that far. Everything temporary is in one directory of the runner's, which goes at the end.
"""

import ctypes
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import namedtuple

import harness
from harness import Failure, Skipped

LIMIT = 900.0    # of one check, in seconds: far above the longest
BUILD = 3600.0   # of the programs that checks need
GRACE = 40.0     # for a check that is told to end: its clusters stop on their way out
LEFTOVER = 5.0   # for processes that are about to end by themselves when their check is over

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36

# `work` is the time of processors that it took, in seconds.
Result = namedtuple("Result", "check outcome sentence seconds work said")


def prctl(option, value):
    if ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def processes():
    """The ids and states of processes by the id of their parent."""
    below = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    state, parent = file.read().rsplit(")", 1)[1].split()[:2]
            except (OSError, IndexError):
                continue
            below.setdefault(int(parent), []).append((int(name), state))
    return below


def children(root):
    return [pid for pid, _ in processes().get(root, [])]


def descendants(root):
    """Process ids below root's, parents first; what has ended and wasn't waited for isn't among them."""
    below = processes()
    found, level = [], [root]
    while level:
        rows = [row for parent in level for row in below.get(parent, [])]
        found += [pid for pid, state in rows if state != "Z"]
        level = [pid for pid, _ in rows]
    return found


def name_of(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()[:150]
    except OSError:
        return ""


def end(pids):
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def reap():
    """Waits for children that have ended: the adopted ones are nobody else's."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0] != 0:
            pass
    except ChildProcessError:
        pass


def end_what_is_left():
    """Ends what still runs below this process, and says what that was."""
    deadline = time.monotonic() + LEFTOVER
    while True:
        reap()
        left = descendants(os.getpid())
        if not left or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    names = [name_of(pid) for pid in left]
    for _ in range(100):
        if not left:
            break
        end(left)
        time.sleep(0.02)
        reap()
        left = descendants(os.getpid())
    return [name for name in names if name]


def judge(check):
    """Runs a check: how it ended, and a sentence about it."""
    try:
        check.function(check.engine)
        return "ok", ""
    except Skipped as reason:
        return "skipped", str(reason)
    except Failure as failure:
        return "failed", str(failure)
    except SystemExit:
        return "failed", "it was told to end"
    except BaseException:
        return "failed", "\n" + traceback.format_exc().rstrip()


class Worker:
    """The process of one check."""

    def __init__(self, check, directory, shared, limit=None):
        self.check, self.directory, self.limit = check, directory, limit or LIMIT
        self.began = time.monotonic()
        self.told = None
        os.mkdir(directory)
        # What comes before the child has its own handlers waits until it has them.
        both = {signal.SIGTERM, signal.SIGINT}
        signal.pthread_sigmask(signal.SIG_BLOCK, both)
        try:
            self.pid = os.fork()
            if self.pid == 0:
                try:
                    self.work(shared, both)
                finally:
                    os._exit(70)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, both)

    def work(self, shared, both):
        """In the child."""
        # A session of its own: Ctrl-C is for the runner, which tells the others.
        os.setsid()

        def told(number, frame):
            # Once: nothing may interrupt the way out.
            for each in both:
                signal.signal(each, signal.SIG_IGN)
            sys.exit(128 + number)
        for number in both:
            signal.signal(number, told)
        out = os.open(os.path.join(self.directory, "said"), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(out, 2)
        parent = os.getppid()
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(70)
        place = os.path.join(self.directory, "tmp")
        os.mkdir(place)
        os.environ["TMPDIR"] = tempfile.tempdir = place
        harness.shared = shared
        signal.pthread_sigmask(signal.SIG_UNBLOCK, both)
        outcome, sentence = judge(self.check)
        for number in both:
            signal.signal(number, signal.SIG_IGN)
        sys.stdout.flush()
        sys.stderr.flush()
        left = end_what_is_left()
        if left and outcome == "ok":
            outcome, sentence = "failed", f"it left running: {'; '.join(left)}"
        path = os.path.join(self.directory, "result")
        with open(path + ".new", "w") as file:
            json.dump([outcome, sentence, sum(os.times()[:4])], file)
        os.rename(path + ".new", path)
        os._exit(0)

    def ended(self):
        """Looks after the process; true when it has ended."""
        now = time.monotonic()
        if self.told is None and now > self.began + self.limit:
            self.tell()
        if self.told is not None and now > self.told + GRACE:
            # The process first: it must not go on with its check when that loses its processes.
            below = descendants(self.pid)
            end([self.pid] + below)
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def tell(self):
        if self.told is None:
            self.told = time.monotonic()
            os.kill(self.pid, signal.SIGTERM)

    def result(self):
        """After its end."""
        seconds = time.monotonic() - self.began
        _, status = os.waitpid(self.pid, 0)
        try:
            with open(os.path.join(self.directory, "result")) as file:
                outcome, sentence, work = json.load(file)
        except (OSError, ValueError):
            outcome, work = "failed", 0
            sentence = f"its process ended with {os.waitstatus_to_exitcode(status)}"
        if seconds > self.limit and outcome == "failed":
            sentence = f"it was ended after {self.limit:.0f} s: {sentence}"
        try:
            with open(os.path.join(self.directory, "said"), errors="replace") as file:
                said = file.read()
        except OSError:
            said = ""
        shutil.rmtree(self.directory, ignore_errors=True)
        return Result(self.check, outcome, sentence, seconds, work, said)


class Runner:
    def __init__(self, jobs, tell):
        self.jobs, self.tell = jobs, tell
        self.workers = []
        self.builder = None
        self.stopped = None

    def stop(self, number, frame):
        self.stopped = number

    def run(self, checks, seconds):
        """The results of checks; `seconds` says about how long one takes. The number of the signal that ended it, or
        None, is in `stopped`."""
        before = {number: signal.signal(number, self.stop) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        self.shared = tempfile.mkdtemp(prefix="flotilla-accept-")
        self.results = []
        try:
            longest = sorted(checks, key=seconds, reverse=True)
            self.build([check.builds for check in checks if check.builds is not None])
            self.side_by_side([check for check in longest if not check.alone], self.jobs)
            self.side_by_side([check for check in longest if check.alone], 1)
        finally:
            self.end()
            shutil.rmtree(self.shared, ignore_errors=True)
            for number, handler in before.items():
                signal.signal(number, handler)
        return self.results

    def build(self, needed):
        """Builds what checks need, beside the first of the others."""
        products = sorted({product for products in needed for product in products})
        if products:
            function = lambda engine: harness.build(products)
            name = f"building {', '.join(products)}"
            self.builder = Worker(namedtuple("Build", "name function engine")(name, function, None),
                                  os.path.join(self.shared, "build"), self.shared, BUILD)

    def side_by_side(self, waiting, jobs):
        waiting = list(waiting)
        while (waiting or self.workers) and self.stopped is None:
            while len(self.workers) < jobs:
                check = next((check for check in waiting if check.builds is None or self.builder is None), None)
                if check is None:
                    break
                waiting.remove(check)
                number = len(self.results) + len(self.workers)
                self.workers.append(Worker(check, os.path.join(self.shared, str(number)), self.shared))
            time.sleep(0.02)
            self.collect()

    def collect(self):
        if self.builder is not None and self.builder.ended():
            result = self.builder.result()
            self.builder = None
            if result.outcome != "ok":
                print(f"accept: {result.sentence}", file=sys.stderr, flush=True)
            self.end_orphans()
        for worker in list(self.workers):
            if worker.ended():
                self.workers.remove(worker)
                result = worker.result()
                self.results.append(result)
                self.tell(result)
                self.end_orphans()

    def end_orphans(self):
        """Ends what a check's process left that was killed: it is this one's now."""
        mine = {worker.pid for worker in self.workers + [self.builder] if worker is not None}
        for pid in children(os.getpid()):
            if pid not in mine:
                end([pid] + descendants(pid))
                os.waitpid(pid, 0)

    def end(self):
        """Whatever was started ends."""
        if self.builder is not None:
            self.workers.append(self.builder)
        for worker in self.workers:
            worker.tell()
        deadline = time.monotonic() + GRACE + 10
        while self.workers and time.monotonic() < deadline:
            self.workers = [worker for worker in self.workers if not worker.ended()]
            time.sleep(0.02)
        end_what_is_left()
