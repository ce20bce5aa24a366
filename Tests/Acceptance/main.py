"""Runs the checks, one after another, and says which failed."""

import signal
import sys
import time
import traceback

import browser_checks  # noqa: F401 (registers its checks)
import checks
import dashboard_checks  # noqa: F401
import engine_checks  # noqa: F401
import into_checks  # noqa: F401
import live_backup_checks  # noqa: F401
import restore_checks  # noqa: F401
from harness import Failure, Skipped


def main(arguments):
    if arguments == ["--list"]:
        for name, _, _ in checks.CHECKS:
            print(name)
        return 0
    chosen = [row for row in checks.CHECKS if not arguments or any(word in row[0] for word in arguments)]
    if not chosen:
        print(f"accept: no check is named like {' '.join(arguments)}; --list shows them", file=sys.stderr)
        return 64
    failed = []
    skipped = 0
    for name, function, engine in chosen:
        start = time.monotonic()
        try:
            function(engine)
            print(f"ok      {name} ({time.monotonic() - start:.1f} s)", flush=True)
        except Skipped as reason:
            skipped += 1
            print(f"skipped {name}: {reason}", flush=True)
        except Failure as failure:
            failed.append(name)
            print(f"FAILED  {name}: {failure}", flush=True)
        except Exception:
            failed.append(name)
            print(f"FAILED  {name}:\n{traceback.format_exc()}", flush=True)
    print(f"{len(chosen) - len(failed) - skipped} passed, {len(failed)} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed else 0


# Whoever ends the run ends what it has started too: clusters stop on their way out.
signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
sys.exit(main(sys.argv[1:]))
