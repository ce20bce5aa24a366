"""Chooses the checks, has them run side by side, and says which failed. What it takes: scripts/accept --help."""

import json
import os
import sys
import time

import abort_checks  # noqa: F401 (registers its checks)
import browser_checks  # noqa: F401
import checks
import cli_checks  # noqa: F401
import dashboard_checks  # noqa: F401
import engine_checks  # noqa: F401
import interrupted_checks  # noqa: F401
import into_checks  # noqa: F401
import live_backup_checks  # noqa: F401
import overload_checks  # noqa: F401
import restore_checks  # noqa: F401
import robustness_checks  # noqa: F401
import runner

JOBS = 4
# About how long each check takes, on the slowest of its engines; --record writes it.
TABLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "seconds.json")
UNKNOWN = 15


class Mistake(Exception):
    pass


class Options:
    def __init__(self, arguments):
        self.list = self.quick = self.record = False
        self.jobs, self.words = JOBS, []
        arguments = list(arguments)
        while arguments:
            argument = arguments.pop(0)
            if argument in ("--list", "--quick", "--record"):
                setattr(self, argument[2:], True)
            elif argument.split("=")[0] == "--jobs":
                value = argument.partition("=")[2] if "=" in argument else arguments.pop(0) if arguments else ""
                if not value.isdigit() or not 1 <= int(value) <= 64:
                    raise Mistake("--jobs takes a number from 1 to 64")
                self.jobs = int(value)
            elif argument.startswith("-"):
                raise Mistake(f"unknown argument {argument}; --help shows what it takes")
            else:
                self.words.append(argument)

    def chosen(self):
        rows = [row for row in checks.CHECKS if not self.words or any(word in row.name for word in self.words)]
        if not rows:
            raise Mistake(f"no check is named like {' '.join(self.words)}; --list shows them")
        if self.quick:
            rows = [row for row in rows if row.is_quick]
            if not rows:
                raise Mistake("--quick leaves all of these out")
        return rows


def table():
    with open(TABLE) as file:
        return json.load(file)


def record(results):
    """Puts the times of what passed into the table, and keeps the others' that are still checks."""
    known, new = table(), {}
    for result in results:
        if result.outcome == "ok":
            name = result.check.function.__name__
            new[name] = max(new.get(name, 1), round(result.seconds))
    names = {check.function.__name__ for check in checks.CHECKS}
    with open(TABLE, "w") as file:
        json.dump({name: new.get(name, known.get(name)) for name in sorted(names & (known.keys() | new.keys()))}, file, indent=1)
        file.write("\n")


def tell(result):
    head = {"ok": "ok      ", "skipped": "skipped ", "failed": "FAILED  "}[result.outcome]
    sentence = f": {result.sentence}" if result.sentence else ""
    print(f"{head}{result.check.name} ({result.seconds:.1f} s){sentence}", flush=True)
    if result.said.strip():
        print(result.said.rstrip("\n"), flush=True)


def main(arguments):
    try:
        options = Options(arguments)
        chosen = options.chosen()
    except Mistake as mistake:
        print(f"accept: {mistake}", file=sys.stderr)
        return 64
    if options.list:
        for row in chosen:
            print(row.name)
        return 0
    known = table()
    runs = runner.Runner(options.jobs, tell)
    start = time.monotonic()
    results = runs.run(chosen, lambda check: known.get(check.function.__name__, UNKNOWN))
    took = time.monotonic() - start
    if runs.stopped is not None:
        print(f"accept: stopped after {len(results)} of {len(chosen)} checks", file=sys.stderr)
        return 128 + runs.stopped
    if options.record:
        record(results)
    slowest = sorted(results, key=lambda result: result.seconds, reverse=True)[:10]
    if len(results) > 1:
        together, work = (sum(getattr(result, field) for result in results) for field in ("seconds", "work"))
        left_out = f"; --quick left out {len(checks.CHECKS) - len(chosen)}" if options.quick and not options.words else ""
        print(f"\n{took:.0f} s, {options.jobs} side by side; the checks took {together:.0f} s, of processors {work:.0f} s{left_out}. The slowest:")
        for result in slowest:
            print(f"{result.seconds:7.1f} s, of processors {result.work:5.1f} s  {result.check.name}")
        failed = [result.check.name for result in results if result.outcome == "failed"]
        for name in failed:
            print(f"FAILED  {name}")
    count = {outcome: sum(result.outcome == outcome for result in results) for outcome in ("ok", "failed", "skipped")}
    print(f"{count['ok']} passed, {count['failed']} failed" + (f", {count['skipped']} skipped" if count["skipped"] else ""), flush=True)
    return 1 if count["failed"] else 0


sys.exit(main(sys.argv[1:]))
