"""The dashboard in a headless browser, over a cluster of real processes. Its pages by themselves, over made-up data:
Tests/Browser/fixture_checks.py, which one of these runs."""

import os
import re
import subprocess
import sys

from checks import check
from dashboard_checks import Dashboard
from harness import ROOT, Cluster, Failure, require, wait_for
from rpc import Session, append_at_leader

BROWSER = os.path.join(ROOT, "Tests", "Browser")
sys.path.insert(0, BROWSER)

# What continuous integration keeps of a run.
SCREENSHOTS = os.path.join(ROOT, "output", "screenshots")


def pages():
    import cdp
    import fixture_checks
    return cdp, fixture_checks


class Page:
    """A browser with one page of a dashboard; at the end nothing may have gone wrong in it."""

    def __init__(self, dashboard):
        self.dashboard = dashboard
        self.url = f"http://{dashboard.address}/"

    def __enter__(self):
        self.cdp, self.checks = pages()
        self.browser = self.cdp.Browser()
        self.browser.viewport(*self.cdp.DESKTOP)
        self.browser.scheme("light")
        return self

    def __exit__(self, kind, value, trace):
        try:
            if kind is None:
                self.checks.clean(self.browser)
        except self.checks.Failure as failure:
            raise Failure(str(failure)) from failure
        finally:
            self.browser.close()

    def open(self, page):
        self.checks.open_page(self.browser, self.url, page)

    def has(self, selector, words, seconds=60):
        try:
            self.checks.has(self.browser, selector, words, seconds)
        except self.cdp.BrowserError as error:
            shown = self.checks.text(self.browser, selector)
            raise Failure(f"{selector} doesn't say {words!r} after {seconds} s, but: {shown[:600]!r}") from error


@check(["1/3", "2/3", "3/3"], slow="it runs in a browser")
def the_pages_pass_their_own_checks(part):
    done = subprocess.run(
        ["/usr/bin/python3", os.path.join(BROWSER, "fixture_checks.py"), "--part", part], capture_output=True, text=True,
        timeout=800)
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAILED")]
    require(done.returncode == 0, "; ".join(failed)[:2000] or done.stderr[-1000:])
    for line in done.stdout.splitlines():
        if line.startswith("   "):
            print(line, flush=True)


@check(["rocksdb"], slow="it runs in a browser")
def a_browser_sees_a_leader_die_and_another_take_over(engine):
    with Cluster(engine, shards=8).up() as cluster, Dashboard(cluster.endpoints) as dashboard:
        dashboard.wait("every node to be well", lambda state: state["metrics"]["healthyNodes"] == 9)
        with Page(dashboard) as page:
            page.open("events")
            loaded = page.browser.evaluate("performance.timeOrigin")
            leader = cluster.leader(100)
            leader.kill()
            # Said on whatever page is open: a banner names it.
            page.has("#banners", leader.address)
            state = dashboard.wait("another leader", lambda state: any(
                node["role"] == "Leader" and node["healthy"] for group in state["topology"]["shardGroups"]
                if group["groupId"] == 100 for node in group["nodes"]) and state)
            event = next(event for event in state["events"] if event["kind"] == "leader" and event["groupId"] == 100)
            require(event["nodeId"] != leader.number, f"{event}")
            page.has("#panel", event["text"])
            leader.start()
            page.has("#panel", f"node {leader.number} of group 100")
            dashboard.wait("the node to be back", lambda state: state["metrics"]["healthyNodes"] == 9)
            page.browser.wait_for(f"!document.querySelector('#banners').innerText.includes({leader.address!r})", 60)
            require(page.browser.evaluate("performance.timeOrigin") == loaded, "the page was loaded again")


@check(["mixed"], slow="it runs in a browser")
def a_browser_moves_a_shard_by_clicking(engine):
    with Cluster(engine, shards=8).up() as cluster:
        cluster.put_many([(f"key{number}", "x" * 100) for number in range(400)])
        source = cluster.query()["shards"][3]
        target = 201 - source
        with Dashboard(cluster.endpoints, "--allow-actions") as dashboard:
            dashboard.wait("every node to be well", lambda state: state["metrics"]["healthyNodes"] == 9)
            with Page(dashboard) as page:
                page.open("shards")
                page.browser.click("[aria-label='Move shard 3']")
                page.browser.click(f"[role=menu] [data-group='{target}']")
                page.browser.wait_for("document.querySelector('dialog[open]')")
                page.has("dialog", "Move shard 3?")
                page.browser.click("dialog button.primary")
                page.has("dialog", "The move has begun with config")
                page.browser.press("Escape")
                wait_for("the shard to arrive", lambda: cluster.query()["shards"][3] == target and cluster.settled(), 60)
                page.open("moves")
                page.has("#panel", "done")
        require(len(cluster.contents()) == 400, "keys were lost")


@check(["rocksdb"], slow="it runs in a browser")
def a_browser_shows_keys_and_never_runs_them(engine):
    hostile = b"<script>alert(1)</script>"
    with Cluster(engine, groups=(100,), shards=4).up() as cluster:
        for key, value in [(hostile, b"<img src=x onerror=alert(1)>"), (b"<b>bold", b"\xff\x00\x01binary"), (b"\xff\xfe", b"v")]:
            append_at_leader(cluster, 100, key, value, Session(), 1)
        with Dashboard(cluster.endpoints) as dashboard:
            dashboard.wait("the map", lambda state: len(state["shards"]) == 4)
            with Page(dashboard) as page:
                page.open("keys")
                page.checks.fill_in(page.browser, "#key", hostile.decode())
                page.browser.press("Enter")
                page.has("pre.value", "<img src=x onerror=alert(1)>")
                page.checks.fill_in(page.browser, "#prefix", "<")
                page.browser.press("Enter")
                page.has(".pairs", hostile.decode())
                page.has(".pairs", "\\xff\\x00\\x01binary")
                page.checks.expect_no_markup(page.browser)


@check(["rocksdb"], slow="it runs in a browser")
def a_browser_is_told_when_nothing_can_be_reached(engine):
    with Cluster(engine, groups=(100,), shards=2) as cluster, Dashboard(cluster.endpoints) as dashboard:
        with Page(dashboard) as page:
            page.open("overview")
            page.has("#banners", "controller")
            page.has("#banners", cluster.addresses[0][0])
            cluster.up()
            dashboard.wait("every node to be well", lambda state: state["metrics"]["healthyNodes"] == 6)
            page.browser.wait_for("!document.querySelector('#banners').innerText.trim()", 60)


@check(["mixed"], slow="it runs in a browser")
def every_page_has_its_pictures_of_a_real_cluster(engine):
    # A copy is held up at each piece: there is something on the move in the pictures.
    with Cluster(engine, shards=64).up({"FLOTILLA_FAILPOINTS": "piece-fetched=500"}) as cluster:
        with Dashboard(cluster.endpoints, "--allow-actions") as dashboard:
            dashboard.wait("every node to be well", lambda state: state["metrics"]["healthyNodes"] == 9)
            cluster.put_many([(f"user:{number:04}", "{" + f'"id": {number}, "visits": {number * 7 % 90}' + "}") for number in range(3000)])
            for number in range(24):
                cluster.run("kv", "put", f"{{photos}}{number:02}", "-", stdin=os.urandom(1 << 20))
            cluster.run("bench", "cluster", "--work", "mix", "--clients", "16", "--seconds", "8", "--key-space", "3000", timeout=120)
            leader = cluster.leader(100)
            leader.kill()
            dashboard.wait("the node to be missed", lambda state: state["status"]["missing"])
            leader.start()
            dashboard.wait("the node to be back", lambda state: state["metrics"]["healthyNodes"] == 9)
            config = cluster.query()
            for shard in (3, 40):
                cluster.move(shard, 201 - config["shards"][shard])
            dashboard.wait("the moves to end", lambda state: len(state["moves"]["history"]) >= 2, 60)
            _, checks = pages()
            url = f"http://{dashboard.address}/"

            def scan(browser):
                checks.fill_in(browser, "#prefix", "user:00")
                browser.press("Enter")
                checks.has(browser, "#scanned", "keys on page 1")
            # First: a scan of all shards waits for one that is on the move.
            paths = checks.screenshots(url, SCREENSHOTS, names=["keys"], prepare={"keys": scan})
            photos = max(dashboard.state()["shards"], key=lambda row: row["bytes"])
            cluster.move(photos["shardId"], 201 - photos["groupId"])
            dashboard.wait("a part of the copy", lambda state: any(
                row["copiedBytes"] for row in state["moves"]["live"]), 60)
            load = subprocess.Popen(
                [os.path.join(ROOT, "output", "flotilla"), "bench", "cluster", "--work", "mix", "--clients", "4", "--seconds", "120",
                 "--key-space", "3000", "--endpoints", cluster.endpoints], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                paths += checks.screenshots(url, SCREENSHOTS, names=[name for name in checks.NAMES if name != "keys"])
            finally:
                load.kill()
                load.wait(timeout=60)
            require(len(paths) == 24, f"{len(paths)} pictures, not 24")
            for path in paths:
                with open(path, "rb") as file:
                    require(re.match(rb"\x89PNG", file.read(8)) and os.path.getsize(path) > 5000, f"{path} is no picture")
