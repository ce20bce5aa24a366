"""Checks of the dashboard's pages in a headless browser, against a server with made-up data.

    /usr/bin/python3 Tests/Browser/fixture_checks.py                  all checks
    /usr/bin/python3 Tests/Browser/fixture_checks.py drag keyboard    those whose name has one of the words
    /usr/bin/python3 Tests/Browser/fixture_checks.py --part 2/3       the second third of them
    /usr/bin/python3 Tests/Browser/fixture_checks.py --list
    /usr/bin/python3 Tests/Browser/fixture_checks.py --screenshots DIR [URL]

Needs what scripts/bootstrap --test installs.
"""
import csv
import json
import os
import re
import signal
import sys
import tempfile
import time
import traceback

from cdp import Browser, BrowserError, DESKTOP, PHONE
from fixture_server import PAGES, Fixture

NAMES = ["overview", "topology", "shards", "moves", "events", "keys"]
MOST_NODES = 5000
MOST_SCRIPT_SECONDS = 1.0
MOST_BYTES = 300 * 1024
UPDATES = 6

CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


class Failure(Exception):
    pass


def expect(condition, sentence):
    if not condition:
        raise Failure(sentence)


def figure(sentence):
    print(f"   {sentence}", flush=True)


def open_page(browser, url, hash_, seconds=20):
    """Until the page has drawn an update."""
    browser.navigate(f"{url}#{hash_}")
    name = hash_.split("?")[0]
    browser.wait_for(f"document.querySelector('#panel[data-page={name}][data-sequence]')", seconds)


def drawn(browser, cluster, seconds=15):
    browser.wait_for(f"Number(document.getElementById('panel').dataset.sequence) >= {cluster.sequence}", seconds)


def text(browser, selector="body"):
    return browser.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")


def has(browser, selector, words, seconds=15):
    browser.wait_for(f"(document.querySelector({json.dumps(selector)})?.textContent ?? '').includes({json.dumps(words)})", seconds)


def clean(browser, allowed=()):
    errors = [each for each in browser.errors if not any(word in each for word in allowed)]
    expect(not errors, f"errors of the console: {errors[:3]}")
    failed = [each for each in browser.failed_requests if not any(word in str(each) for word in allowed)]
    expect(not failed, f"failed requests: {failed[:3]}")
    expect(not browser.dialogs, f"dialogs: {browser.dialogs}")


def set_value(browser, selector, value):
    browser.evaluate(f"""(() => {{
        const node = document.querySelector({json.dumps(selector)});
        node.value = {json.dumps(value)};
        node.dispatchEvent(new Event("input", {{ bubbles: true }}));
        node.dispatchEvent(new Event("change", {{ bubbles: true }}));
    }})()""")


def fill_in(browser, selector, value):
    """By typing, in place of what is there."""
    browser.click(selector)
    browser.evaluate(f"document.querySelector({json.dumps(selector)}).select()")
    browser.type(value)


# What every page keeps

@check
def pages_load(browser):
    with Fixture(interval_ms=500) as fixture:
        fixture.cluster.start_move(3, 102)
        for scheme in ["light", "dark"]:
            for size, phone in [(DESKTOP, False), (PHONE, True)]:
                browser.scheme(scheme)
                browser.viewport(*size, phone)
                for name in NAMES:
                    open_page(browser, fixture.url, name)
                    expect(browser.evaluate("document.querySelectorAll('#panel h2').length") == 1, f"{name} has no heading")
                    width = browser.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
                    expect(width[0] <= width[1], f"{name} is {width[0]} wide in a window of {width[1]}, {scheme}")
                    ground = browser.evaluate("getComputedStyle(document.body).backgroundColor")
                    dark = sum(map(int, re.findall(r"\d+", ground)[:3])) < 200
                    expect(dark == (scheme == "dark"), f"{name} has the ground {ground} in {scheme}")
                    clean(browser)


@check
def large_cluster_is_bounded(browser):
    with Fixture(ticking=False, groups=100, replicas=5, shards=1024, allow_actions=True) as fixture:
        cluster = fixture.cluster
        for number in range(0, 200, 2):
            cluster.start_move(number, 199)
        for number in range(40):
            cluster.finish_move(number * 2)
        for gid in range(100, 140):
            cluster.lose_node(gid, 1)
        opened = "topology?open=100 101 102 103 104 105 106 107"
        for hash_ in ["overview?range=3600", "topology", opened, "shards", "moves", "events", "keys"]:
            browser.call("HeapProfiler.collectGarbage", 60)
            open_page(browser, fixture.url, hash_)
            if hash_ == "keys":
                browser.click("form:has(#prefix) button")
                browser.wait_for("document.querySelectorAll('.pairs tbody tr').length === 50")
            if hash_ == "moves":
                fill_in(browser, "#plan-join", "900=10.9.9.9:1")
                browser.press("Enter")
                has(browser, ".plan-result", "900")
            times = []
            for _ in range(UPDATES):
                before = browser.metric("ScriptDuration"), browser.metric("TaskDuration")
                cluster.update()
                drawn(browser, cluster)
                times.append((browser.metric("ScriptDuration") - before[0], browser.metric("TaskDuration") - before[1]))
            elements, nodes, kept = browser.elements(), browser.nodes(), browser.kept_nodes()
            script, task = max(each[0] for each in times), max(each[1] for each in times)
            figure(f"{hash_[:30]}: {elements} elements, {nodes} nodes, {kept} kept; an update takes at most "
                   f"{script * 1000:.0f} ms of script, {task * 1000:.0f} ms in all")
            expect(nodes < MOST_NODES and kept < MOST_NODES, f"{hash_} has {nodes} nodes, {kept} with those outside of the document")
            expect(script < MOST_SCRIPT_SECONDS, f"an update of {hash_} takes {script:.2f} s of script")
            clean(browser)
        # Every page once more without loading anew: what a page leaves behind is let go.
        for name in NAMES:
            browser.click(f"#tab-{name}")
            browser.wait_for(f"document.querySelector('#panel[data-page={name}][data-sequence]')")
        kept = browser.kept_nodes()
        figure(f"after a walk over all pages: {kept} nodes kept")
        expect(kept < MOST_NODES, f"{kept} nodes are kept after a walk over all pages")


@check
def memory_stays_bounded(browser):
    with Fixture(ticking=False, groups=20, shards=256) as fixture:
        open_page(browser, fixture.url, "topology?open=100 101")
        counts = []
        for _ in range(3):
            for _ in range(15):
                fixture.cluster.update()
                drawn(browser, fixture.cluster)
            counts.append(browser.kept_nodes())
        figure(f"nodes after 15, 30, 45 updates: {counts}")
        expect(counts[2] <= counts[1] + 20, f"nodes grow with updates: {counts}")


@check
def sizes(_):
    total = 0
    with open(os.path.join(PAGES, "..", "pages.c")) as file:
        embedded = file.read()
    for name in sorted(os.listdir(PAGES)):
        with open(os.path.join(PAGES, name)) as file:
            content = file.read()
        total += len(content.encode())
        expect(f'#embed "pages/{name}"' in embedded and f'PAGE("{name}"' in embedded, f"pages.c lacks {name}")
        expect(content.count("\n") < 400, f"{name} has {content.count(chr(10))} lines")
        for word in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"]:
            expect(word not in content, f"{name} has {word}")
        if name.endswith(".html"):
            expect(" style=" not in content and "<style" not in content and not re.search(r"\son\w+=", content), f"{name} has inline style or script")
            expect(not re.search(r"(src|href)=\"(https?:)?//", content), f"{name} points outside")
    figure(f"{total} bytes in {len(os.listdir(PAGES))} files")
    expect(total < MOST_BYTES, f"the pages have {total} bytes")


@check
def names_for_screen_readers(browser):
    needing = {"button", "link", "textbox", "searchbox", "combobox", "tab", "application", "image", "progressbar", "table", "region", "dialog", "menuitem", "tabpanel"}
    with Fixture(interval_ms=500, allow_actions=True) as fixture:
        fixture.cluster.start_move(3, 102)
        for name in NAMES:
            open_page(browser, fixture.url, name)
            tree = browser.call("Accessibility.getFullAXTree")["nodes"]
            value = lambda node, field: str(node.get(field, {}).get("value", ""))
            nameless = [value(node, "role") for node in tree if not node["ignored"] and value(node, "role") in needing and not value(node, "name").strip()]
            expect(not nameless, f"without a name on {name}: {nameless}")
            roles = {value(node, "role") for node in tree if not node["ignored"]}
            for role in ["banner", "navigation", "main", "tablist", "status"]:
                expect(role in roles, f"{name} has no {role}")
            scopes = browser.evaluate("[...document.querySelectorAll('th')].filter((cell) => !cell.scope).length")
            expect(scopes == 0, f"{scopes} headers of tables on {name} have no scope")
            captions = browser.evaluate("[...document.querySelectorAll('table')].filter((table) => !table.caption && !table.closest('.hidden')).length")
            expect(captions == 0, f"{captions} tables on {name} have no caption")


CONTRAST = """(() => {
    const parse = (colour) => {
        const parts = colour.match(/[\\d.]+/g).map(Number);
        return { rgb: parts.slice(0, 3), alpha: parts[3] ?? 1 };
    };
    const light = (rgb) => rgb.map((part) => { const c = part / 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; })
        .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
    const ground = (node) => {
        for (let each = node; each; each = each.parentElement) {
            const colour = parse(getComputedStyle(each).backgroundColor);
            if (colour.alpha === 1) return colour.rgb;
        }
        return [255, 255, 255];
    };
    const poor = [];
    for (const node of document.querySelectorAll("body *")) {
        const own = [...node.childNodes].some((child) => child.nodeType === 3 && child.nodeValue.trim());
        if (!own || !node.checkVisibility() || node.disabled || node.closest(".hidden")) continue;
        const style = getComputedStyle(node);
        const front = light(parse(node instanceof SVGElement ? style.fill : style.color).rgb);
        const back = light(ground(node));
        const ratio = (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
        if (ratio < 4.5) poor.push(`${ratio.toFixed(2)} ${node.tagName} ${node.className} ${node.textContent.slice(0, 30)}`);
    }
    return poor;
})()"""


@check
def contrast(browser):
    with Fixture(ticking=False, allow_actions=True) as fixture:
        fixture.cluster.lose_node(100, 1)
        fixture.cluster.start_move(3, 102)
        for scheme in ["light", "dark"]:
            browser.scheme(scheme)
            for name in NAMES:
                open_page(browser, fixture.url, name)
                poor = browser.evaluate(CONTRAST)
                expect(not poor, f"{name}, {scheme}: {poor[:3]}")


# What the pages show

@check
def hostile_content_stays_text(browser):
    hostile = "<img src=x onerror=alert(2)>"
    with Fixture(interval_ms=500) as fixture:
        cluster = fixture.cluster
        cluster.lose_node(100, 1, error=f"{hostile} no node")
        cluster._event("condition", "warning", f"says {hostile}", 100, 1)
        cluster.hold = {"holder": f"flotilla {hostile}", "until": "2099-01-01T00:00:00.000Z"}
        cluster.groups[101]["nodes"][0]["condition"] = f"{hostile} disk"
        literal = {"overview": hostile, "topology": hostile, "moves": hostile, "events": hostile, "shards": "Shard Status"}
        for name, words in literal.items():
            open_page(browser, fixture.url, name)
            has(browser, "body", words)
            clean(browser)
        open_page(browser, fixture.url, "keys")
        expect_no_markup(browser)
        for prefix in ["<", "\"", "javascript", ""]:
            fill_in(browser, "#prefix", prefix)
            if not prefix:
                browser.press("Backspace")
            browser.press("Enter")
            browser.wait_for("document.querySelectorAll('.pairs tbody tr').length > 0 && !document.getElementById('scanned').textContent.includes('Asking')")
            expect_no_markup(browser)
            if prefix == "<":
                has(browser, ".pairs", "<script>alert(1)</script>")
                has(browser, ".pairs", "<img src=x onerror=alert(1)>")
        fill_in(browser, "#prefix", "\u202e")
        browser.press("Enter")
        has(browser, ".pairs", "\\u{202e}gnp.exe")
        fill_in(browser, "#key", "<script>alert(1)</script>")
        browser.press("Enter")
        has(browser, "pre.value", "<script>alert(1)</script>")
        browser.click("[data-way=hex]")
        has(browser, "pre.value", "3c 73 63 72 69 70 74")
        browser.click("[data-way=text]")
        set_value(browser, "#typed", "hex")
        fill_in(browser, "#key", "fffe00 62 696e617279")
        browser.press("Enter")
        has(browser, "pre.value", "\\xff\\xfe\\x00binary")
        fill_in(browser, "#key", "xyz")
        browser.press("Enter")
        has(browser, "#found", "pairs of 0-9")
        expect_no_markup(browser)
        clean(browser)


def expect_no_markup(browser):
    expect(not browser.dialogs, f"a dialog opened: {browser.dialogs}")
    count = browser.evaluate("document.querySelectorAll('#panel script, #panel img, #panel iframe, dialog script, dialog img, #panel [onerror], #panel [onload]').length")
    expect(count == 0, f"{count} elements came from content")
    expect(browser.evaluate("document.scripts.length") == 2, "a script was added")


@check
def keys_are_paged(browser):
    with Fixture(interval_ms=500) as fixture:
        open_page(browser, fixture.url, "keys?prefix=user:")
        browser.click("form:has(#prefix) button")
        has(browser, "#scanned", "50 keys on page 1")
        first = text(browser, ".pairs tbody th")
        for page in range(2, 6):
            browser.click(".pager button:last-child")
            has(browser, "#scanned", f"page {page}")
        has(browser, "#scanned", "the last page")
        expect(browser.evaluate("document.querySelector('.pager button:last-child').disabled"), "there is a page after the last")
        has(browser, ".pairs", "user:0249")
        browser.click(".pager button:nth-child(2)")
        has(browser, "#scanned", "page 4")
        browser.click(".pager button:first-child")
        has(browser, "#scanned", "page 1")
        expect(text(browser, ".pairs tbody th") == first, "the first page isn't the same")
        fill_in(browser, "#prefix", "long")
        browser.press("Enter")
        has(browser, "#scanned", "1 key")
        browser.click(".pairs td button")
        browser.wait_for("document.querySelector('dialog pre').textContent.length === 5000")
        browser.press("Escape")
        browser.wait_for("!document.querySelector('dialog')")
        # A value is cut between characters: half a one would make all of it bytes.
        fill_in(browser, "#prefix", "wide")
        browser.press("Enter")
        has(browser, ".pairs", "x\u00e9\u20ac\U0001f40b\u00e9")
        fill_in(browser, "#key", "no such key")
        browser.press("Enter")
        has(browser, "#found", "Not found")
        clean(browser)


@check
def stale_data_is_said_and_recovers(browser):
    with Fixture(interval_ms=500) as fixture:
        cluster = fixture.cluster
        open_page(browser, fixture.url, "overview")
        browser.evaluate("window.notReloaded = true")
        for what, begin, end, words in [
            ("no new data", lambda: setattr(cluster, "frozen", True), lambda: setattr(cluster, "frozen", False), "has had no new data since"),
            ("a broken connection", lambda: setattr(cluster, "fault", "broken"), lambda: setattr(cluster, "fault", None), "Connection lost since"),
            ("garbage", lambda: setattr(cluster, "fault", "garbage"), lambda: setattr(cluster, "fault", None), "isn't JSON"),
        ]:
            begin()
            began = time.monotonic()
            has(browser, "#banners", words, 20)
            said = time.monotonic() - began
            has(browser, "#freshness-text", "old data")
            expect(browser.evaluate("document.body.classList.contains('stale')"), f"{what}: the page isn't marked")
            expect("Metrics Overview" in text(browser), f"{what}: the last data is gone")
            expect(re.search(r"\d\d:\d\d:\d\d", text(browser, "#banners")), f"{what}: the banner has no time")
            end()
            began = time.monotonic()
            browser.wait_for("document.querySelectorAll('#banners > *').length === 0", 40)
            has(browser, "#freshness-text", "live", 30)
            drawn(browser, cluster)
            figure(f"{what}: said after {said:.1f} s, recovered after {time.monotonic() - began:.1f} s")
        expect(browser.evaluate("window.notReloaded === true"), "the page was loaded anew")
        clean(browser, allowed=["/api/", "net::"])


@check
def another_server_takes_over(browser):
    """The dashboard's process ends, and a new one counts from the beginning."""
    with Fixture(interval_ms=500) as fixture:
        port = fixture.server.server_address[1]
        open_page(browser, fixture.url, "events")
        fixture.cluster.lose_node(100, 1)
        has(browser, "table", "node 1 of group 100 doesn't answer")
        for _ in range(20):
            fixture.cluster.update()
        drawn(browser, fixture.cluster)
        browser.evaluate("window.notReloaded = true")
    has(browser, "#banners", "Connection lost since")
    with Fixture(interval_ms=500, port=port, seed=8) as fixture:
        browser.wait_for("document.querySelectorAll('#banners > *').length === 0", 40)
        browser.wait_for(f"Number(document.getElementById('panel').dataset.sequence) <= {fixture.cluster.sequence}")
        expect("doesn't answer" not in text(browser, "table"), "events of the server before are still shown")
        expect(browser.evaluate("window.notReloaded === true"), "the page was loaded anew")
        clean(browser, allowed=["/api/", "net::"])


@check
def polls_without_stream(browser):
    with Fixture(interval_ms=500) as fixture:
        cluster = fixture.cluster
        cluster.fault = "no-stream"
        open_page(browser, fixture.url, "overview")
        has(browser, "#freshness-text", "polled")
        for _ in range(3):
            drawn(browser, cluster)
        expect("Connection lost" not in text(browser, "#banners"), "it says that the connection is lost")
        cluster.fault = None
        has(browser, "#freshness-text", "live", 30)
        expect(cluster.streams >= 1, "there is no stream")
        clean(browser, allowed=["/api/stream"])


@check
def lost_node_and_controller_are_shown(browser):
    with Fixture(interval_ms=500) as fixture:
        cluster = fixture.cluster
        open_page(browser, fixture.url, "overview")
        has(browser, ".well", "Every group has a leader")
        cluster.lose_node(101, 2)
        has(browser, "#banners", "node 2 of group 101 since")
        has(browser, "#banners", "no node answers at 10.0.101.3:50163")
        has(browser, ".problems", "Group 101 has no leader")
        has(browser, ".problems", "Group 101 is under-replicated")
        browser.wait_for("document.title.startsWith('(')")
        browser.click("#banners a")
        has(browser, ".cards", "Group 101")
        expect("Group 100" not in text(browser, ".cards"), "groups without problems are shown")
        # The fixture has so few groups that each is opened by itself: the first click closes it.
        has(browser, "#group-101", "no leader")
        has(browser, ".detail", "no answer")
        browser.click("#group-101")
        browser.wait_for("document.querySelector('#group-101').ariaExpanded === 'false' && !document.querySelector('.detail')")
        browser.click("#group-101")
        has(browser, ".detail", "no answer")
        cluster.change_leader(101, 0)
        has(browser, "#group-101", "leader 0")
        cluster.lose_node(101, 1)
        has(browser, "#group-101", "no quorum")
        cluster.find_node(101, 1)
        cluster.find_node(101, 2)
        cluster.change_leader(101, 1)
        browser.wait_for("document.querySelectorAll('#banners > *').length === 0")
        cluster.lose_controller("no node of the controller answers")
        has(browser, "#banners", "The controller can't be reached since")
        has(browser, "#banners", "no node of the controller answers")
        cluster.lose_controller(None)
        browser.wait_for("document.querySelectorAll('#banners > *').length === 0")
        browser.click("#tab-events")
        has(browser, "table", "node 2 of group 101 doesn't answer")
        clean(browser)


@check
def before_a_controller_answers(browser):
    with Fixture(ticking=False, groups=1, shards=1) as fixture:
        cluster = fixture.cluster
        with cluster.lock:
            cluster.config, cluster.groups, cluster.shards = 0, {0: {"gid": 0, "nodes": [], "leader": None, "leaving": False}}, []
        cluster.lose_controller("no node of the controller answers")
        for name in NAMES:
            open_page(browser, fixture.url, name)
            has(browser, "#banners", "No controller has answered yet")
            clean(browser)


@check
def charts_follow_and_read_out(browser):
    with Fixture(interval_ms=500) as fixture:
        open_page(browser, fixture.url, "overview")
        browser.wait_for("document.querySelector('.chart path.line').getAttribute('d').length > 500")
        before = browser.evaluate("document.querySelector('.chart path.line').getAttribute('d')")
        browser.wait_for(f"document.querySelector('.chart path.line').getAttribute('d') !== {json.dumps(before)}")
        browser.click("[data-range='900']")
        browser.wait_for("location.hash.includes('range=900') && document.querySelector('[data-range=\"900\"]').ariaPressed === 'true'")
        browser.wait_for("document.querySelector('.chart path.line').getAttribute('d').split('L').length > 1000")
        browser.evaluate("document.querySelector('.plot').focus()")
        browser.press("ArrowLeft")
        browser.press("ArrowLeft")
        browser.wait_for("/^\\d\\d:\\d\\d:\\d\\d: get \\d+\\/s/.test(document.querySelector('figure [aria-live]').textContent)")
        browser.press("Escape")
        has(browser, ".legend thead", "Now")
        x, y = browser.place(".plot")
        browser.mouse("mouseMoved", x, y)
        browser.wait_for("/\\d\\d:\\d\\d:\\d\\d/.test(document.querySelector('.legend thead').textContent)")
        browser.wait_for("document.querySelector('.plot').getAttribute('aria-label').includes('get ')")
        clean(browser)


@check
def shards_sort_and_filter(browser):
    ids = "[...document.querySelectorAll('tbody th')].map((cell) => Number(cell.textContent))"
    with Fixture(ticking=False, groups=8, shards=256) as fixture:
        cluster = fixture.cluster
        cluster.start_move(70, 100)
        open_page(browser, fixture.url, "shards")
        has(browser, ".pager", "1–50 of 256")
        expect(browser.evaluate(ids) == list(range(50)), "shards aren't in order")
        heading = lambda number: f"thead th:nth-child({number}) button"
        browser.click(heading(5))
        most = sorted(cluster.shards, key=lambda shard: -shard["keys"])[0]["shardId"]
        browser.wait_for(f"{ids}[0] === {most}")
        expect(browser.evaluate("document.querySelector('thead th:nth-child(5)').ariaSort") == "descending", "aria-sort isn't set")
        browser.click(heading(5))
        least = min(cluster.shards, key=lambda shard: shard["keys"])["keys"]
        browser.wait_for(f"document.querySelector('tbody td:nth-child(5)').title === '{least:,}'")
        browser.click(heading(1))
        browser.click(".pager button:last-child")
        browser.wait_for(f"{ids}[0] === 50 && location.hash.includes('page=2')")
        set_value(browser, ".filters label:nth-child(2) select", "BePulling")
        browser.wait_for(f"{ids}.join() === '70'")
        has(browser, "tbody", "102 → 100, moving")
        set_value(browser, ".filters label:nth-child(2) select", "")
        set_value(browser, ".filters label:nth-child(3) select", "103")
        browser.wait_for(f"{ids}.length === 32 && {ids}[0] === 96")
        expect("group=103" in browser.evaluate("location.hash"), "the filter isn't in the address")
        browser.call("Page.reload")
        browser.wait_for(f"{ids}.length === 32 && {ids}[0] === 96")
        set_value(browser, ".filters label:nth-child(3) select", "")
        fill_in(browser, "input[type=search]", "200")
        browser.wait_for(f"{ids}.join() === '200'")
        fill_in(browser, "input[type=search]", "nothing like it")
        has(browser, "#panel", "No shard matches")
        for measure in ["bytes", "load", "keys"]:
            browser.click(f"[data-measure={measure}]")
            browser.wait_for(f"document.querySelector('canvas').ariaLabel.endsWith('{measure}')")
        clean(browser)


@check
def content_is_checked(browser):
    with Fixture(interval_ms=500) as fixture:
        open_page(browser, fixture.url, "shards")
        browser.click("[aria-label='Check the content of shard 4']")
        has(browser, "dialog", "The replicas agree")
        has(browser, "dialog table", f"{4:032x}")
        browser.press("Escape")
        browser.wait_for("!document.querySelector('dialog')")
        browser.wait_for("document.activeElement.ariaLabel === 'Check the content of shard 4'")
        clean(browser)


@check
def moves_and_plan(browser):
    with Fixture(interval_ms=500) as fixture:
        cluster = fixture.cluster
        open_page(browser, fixture.url, "moves")
        has(browser, "#panel", "No shard is on the move")
        cluster.start_move(3, 102)
        cluster.start_move(9, 101, None)
        has(browser, ".moves", "Shard 3: 100 → 102")
        browser.wait_for("document.querySelectorAll('progress')[0].value > 0.1")
        expect(browser.evaluate("document.querySelectorAll('progress')[1].position") == -1, "an unknown share is shown as known")
        cluster.finish_move(3)
        has(browser, "[aria-labelledby=ended-title] table", "✓ done")
        cluster.hold, cluster.waiting = {"holder": "flotilla backup create", "until": "2099-01-01T00:00:00.000Z"}, [{"shardId": 7, "to": 101}, {"shardId": 8, "to": 101}]
        has(browser, "#panel", "Moves are held by flotilla backup create")
        has(browser, "#panel", "to group 101: 2 shards (7–8)")
        fill_in(browser, "#plan-join", "900=10.0.9.1:1,10.0.9.2:1")
        browser.press("Enter")
        has(browser, ".card .answer", "16 shards would move")
        has(browser, ".plan-result", "+16")
        set_value(browser, "#plan-kind", "leave")
        browser.click("form button")
        # Group 100 is the first to choose. Its plan is there before the next is asked for.
        leaving = sum(shard["groupId"] == 100 for shard in cluster.shards)
        has(browser, ".card .answer", f"{leaving} shards would move")
        has(browser, ".plan-result", f"−{leaving}")
        clean(browser)
        set_value(browser, "#plan-kind", "join")
        fill_in(browser, "#plan-join", "rubbish")
        browser.press("Enter")
        has(browser, ".card .answer", "join is GID=HOST:PORT")
        # An answer that comes after that of a later question is not shown.
        browser.evaluate("""(() => {
            const ask = window.fetch.bind(window)
            window.fetch = async (url, ...rest) => {
                const answer = await ask(url, ...rest)
                if (!String(url).includes("plan") || window.isHeld) return answer
                window.isHeld = true
                const body = await answer.text()
                await new Promise(release => { window.releaseLate = release })
                setTimeout(() => { window.wasLate = true }, 200)
                return new Response(body, { status: answer.status, headers: answer.headers })
            }
        })()""")
        fill_in(browser, "#plan-join", "900=10.0.9.1:1,10.0.9.2:1")
        browser.press("Enter")
        browser.wait_for("Boolean(window.releaseLate)")
        set_value(browser, "#plan-kind", "leave")
        browser.click("form button")
        has(browser, ".card .answer", f"{leaving} shards would move")
        browser.evaluate("window.releaseLate()")
        browser.wait_for("window.wasLate === true")
        has(browser, ".card .answer", f"{leaving} shards would move")


@check
def events_filter_and_export(browser):
    with Fixture(interval_ms=500) as fixture:
        cluster = fixture.cluster
        cluster.lose_node(100, 1)
        cluster._event("condition", "error", "=1+1, \"quoted\"", 100, 1)
        open_page(browser, fixture.url, "events")
        has(browser, "table", "doesn't answer")
        rows = "document.querySelectorAll('tbody tr').length"
        every = browser.wait_for(f"{rows} > 30 && {rows}")
        set_value(browser, ".filters label:nth-child(2) select", "error")
        browser.wait_for(f"{rows} === 1")
        with tempfile.TemporaryDirectory(prefix="flotilla-export-") as directory:
            browser.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=directory, eventsEnabled=True)
            for kind, number in [("csv", 4), ("json", 5)]:
                browser.click(f".filters button:nth-of-type({number - 3})")
                path = os.path.join(directory, f"flotilla-events.{kind}")
                deadline = time.monotonic() + 10
                while not (os.path.exists(path) and os.path.getsize(path) > 0):
                    expect(time.monotonic() < deadline, f"{kind} wasn't downloaded: {os.listdir(directory)}")
                    browser.evaluate("1")
                    time.sleep(0.05)
                with open(path, newline="") as file:
                    if kind == "csv":
                        lines = list(csv.reader(file))
                        expect(lines[0][0] == "id" and lines[1][-1] == "'=1+1, \"quoted\"", f"the CSV is {lines}")
                    else:
                        expect([each["text"] for each in json.load(file)] == ["=1+1, \"quoted\""], "the JSON lacks the event")
        set_value(browser, ".filters label:nth-child(2) select", "")
        set_value(browser, ".filters label:nth-child(3) select", "node-lost")
        browser.wait_for(f"{rows} === 1")
        set_value(browser, ".filters label:nth-child(3) select", "")
        browser.wait_for(f"{rows} >= {every}")
        clean(browser)


# What can be done

def expect_post(browser, cluster, shard, group):
    browser.wait_for("document.querySelector('dialog[open]')")
    words = text(browser, "dialog")
    for part in [f"Move shard {shard}?", "group 100", f"group {group}"]:
        expect(part in words, f"the dialog lacks {part}: {words}")
    expect(not cluster.posted, "it was posted before it was confirmed")
    browser.click("dialog button.primary")
    has(browser, "dialog", "The move has begun with config")
    expect(cluster.posted == [{"path": "/api/actions/move", "action": "move", "type": "application/json", "body": {"shardId": shard, "groupId": group}}],
           f"posted: {cluster.posted}")
    browser.press("Escape")
    browser.wait_for("!document.querySelector('dialog')")
    cluster.posted.clear()


@check
def move_by_menu(browser):
    with Fixture(interval_ms=500, allow_actions=True) as fixture:
        cluster = fixture.cluster
        open_page(browser, fixture.url, "shards")
        browser.click("[aria-label='Move shard 3']")
        browser.wait_for("document.querySelectorAll('[role=menu] [role=menuitem]').length === 2")
        browser.press("Escape")
        browser.wait_for("!document.querySelector('[role=menu]') && document.activeElement.ariaLabel === 'Move shard 3'")
        browser.press("Enter")
        browser.wait_for("document.activeElement.role === 'menuitem'")
        browser.press("ArrowDown")
        browser.wait_for("document.activeElement.dataset.group === '102'")
        browser.press("Enter")
        browser.wait_for("document.querySelector('dialog[open]')")
        browser.press("Escape")
        browser.wait_for("!document.querySelector('dialog')")
        expect(not cluster.posted, "Escape posted")
        browser.click("[aria-label='Move shard 3']")
        browser.click("[role=menu] [data-group='102']")
        expect_post(browser, cluster, 3, 102)
        has(browser, "tbody tr:nth-child(4)", "100 → 102, moving")
        clean(browser)
        # A refusal is shown, and nothing else happens.
        browser.click("[aria-label='Move shard 3']")
        browser.click("[role=menu] [data-group='102']")
        browser.click("dialog button.primary")
        has(browser, "dialog", "shard 3 is on the move already")


@check
def a_confirmation_is_of_what_it_shows(browser):
    with Fixture(interval_ms=500, allow_actions=True) as fixture:
        cluster = fixture.cluster
        open_page(browser, fixture.url, "shards")
        browser.click("[aria-label='Move shard 3']")
        browser.click("[role=menu] [data-group='102']")
        browser.wait_for("document.querySelector('dialog[open]')")
        cluster.start_move(3, 101)
        cluster.finish_move(3)
        has(browser, "tbody tr:nth-child(4)", "101")
        browser.click("dialog button.primary")
        has(browser, "dialog", "The shard has changed: group 101 has it now")
        expect(not cluster.posted, f"posted: {cluster.posted}")
        clean(browser)


@check
def move_by_drag(browser):
    with Fixture(interval_ms=500, allow_actions=True) as fixture:
        cluster = fixture.cluster
        open_page(browser, fixture.url, "shards")
        target = lambda group: browser.evaluate(f"""(() => {{
            const box = document.querySelector('[data-drop="{group}"]').getBoundingClientRect();
            return [box.left + box.width / 2, box.top + box.height / 2];
        }})()""")
        browser.evaluate("scrollTo(0, 0)")
        box = browser.evaluate("(() => { const box = document.querySelector('canvas').getBoundingClientRect(); return [box.left, box.top, box.width]; })()")
        # The row numbers are 40 wide, and the fixture has 64 shards in four rows of 16.
        cell = (box[2] - 40) / 16
        shard = 5
        at = (box[0] + 40 + cell * (shard + 0.5), box[1] + cell / 2)

        def aimed():
            browser.wait_for("document.querySelector('.targets .aimed')?.dataset.drop === '101' && document.querySelector('.ghost')")
        browser.drag(at, target(101), before_drop=aimed)
        expect_post(browser, cluster, shard, 101)
        # By the row
        row = browser.place("tbody tr:nth-child(2) td:nth-child(5)")
        end = target(102)
        expect(end[1] > 0, "the targets are out of sight; the window of the check is too small")
        browser.drag(row, end)
        expect_post(browser, cluster, 1, 102)
        # From far below the targets come along.
        row = browser.place("tbody tr:nth-child(20) td:nth-child(5)")
        browser.mouse("mouseMoved", *row)
        browser.mouse("mousePressed", *row, 1)
        browser.mouse("mouseMoved", row[0] + 20, row[1], 1)
        browser.wait_for("document.querySelector('.target-box.floating')")
        end = target(102)
        browser.mouse("mouseMoved", *end, 1)
        browser.mouse("mouseReleased", *end)
        expect_post(browser, cluster, 19, 102)
        # Escape gives up, as does a drop elsewhere.
        browser.evaluate("scrollTo(0, 0)")
        browser.drag(at, target(102), before_drop=lambda: browser.press("Escape"))
        browser.drag(at, (at[0] + 100, at[1] + 5))
        drawn(browser, cluster)
        expect(browser.evaluate("!document.querySelector('dialog') && !document.querySelector('.ghost')"), "a drag that was given up has effects")
        expect(not cluster.posted, "a drag that was given up was posted")
        clean(browser)


@check
def no_control_without_permission(browser):
    with Fixture(interval_ms=500) as fixture:
        open_page(browser, fixture.url, "shards")
        expect(browser.evaluate("document.querySelectorAll('[aria-label^=\"Move shard\"], [data-drop]').length") == 0, "there are controls for moves")
        expect("Move…" not in text(browser) and "Drag a shard" not in text(browser), "there are words about moves")
        row = browser.place("tbody tr:nth-child(2) td:nth-child(5)")
        browser.drag(row, (row[0], row[1] - 100))
        expect(browser.evaluate("!document.querySelector('dialog, .ghost, [role=menu]')"), "a drag has effects")
        fixture.cluster.allow_actions = True
        browser.wait_for("document.querySelectorAll('[aria-label^=\"Move shard\"]').length > 0 && document.querySelectorAll('[data-drop]').length === 3")
        fixture.cluster.allow_actions = False
        browser.wait_for("document.querySelectorAll('[aria-label^=\"Move shard\"], [data-drop]').length === 0")
        expect(fixture.cluster.posted == [], "something was posted")
        clean(browser)


@check
def keyboard_reaches_everything(browser):
    with Fixture(interval_ms=500, allow_actions=True) as fixture:
        for name in NAMES:
            open_page(browser, fixture.url, name)
            browser.evaluate("document.activeElement.blur(); window.reached = new Set(); document.addEventListener('focusin', (event) => reached.add(event.target)); 0")
            operable = "[...document.querySelectorAll('a[href], button, input, select, canvas, [tabindex=\"0\"]')].filter((node) => node.checkVisibility() && !node.disabled && node.tabIndex >= 0)"
            count = browser.evaluate(f"{operable}.length")
            for _ in range(count + 5):
                browser.press("Tab")
            missed = browser.evaluate(f"{operable}.filter((node) => !reached.has(node)).map((node) => node.outerHTML.slice(0, 80))")
            expect(not missed, f"Tab doesn't reach on {name}: {missed[:3]}")
            figure(f"{name}: Tab reaches {count} controls")
        open_page(browser, fixture.url, "overview")
        browser.evaluate("document.getElementById('tab-overview').focus()")
        for name in NAMES[1:] + NAMES[:1]:
            browser.press("ArrowRight")
            browser.wait_for(f"document.querySelector('#panel[data-page={name}][data-sequence]') && document.activeElement.id === 'tab-{name}' && document.activeElement.ariaSelected === 'true'")
        browser.press("End")
        browser.wait_for("document.activeElement.id === 'tab-keys'")
        browser.press("Home")
        browser.wait_for("document.activeElement.id === 'tab-overview'")
        focus_seen = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        expect(focus_seen == "solid", f"the focus has the outline {focus_seen}")
        # The skip link
        browser.evaluate("document.getElementById('skip').focus()")
        browser.press("Enter")
        browser.wait_for("document.activeElement.id === 'panel'")
        # Cards and sorting
        open_page(browser, fixture.url, "topology?open=none")
        browser.evaluate("document.getElementById('group-101').focus()")
        browser.press("Enter")
        browser.wait_for("document.activeElement.ariaExpanded === 'true' && document.querySelector('.matrix')")
        browser.press(" ")
        browser.wait_for("document.activeElement.ariaExpanded === 'false' && !document.querySelector('.matrix')")
        # The heat map
        open_page(browser, fixture.url, "shards")
        browser.evaluate("document.querySelector('canvas').focus()")
        for key, shard in [("ArrowRight", 1), ("ArrowDown", 17), ("ArrowLeft", 16), ("ArrowUp", 0), ("End", 63), ("Home", 0), ("ArrowRight", 1)]:
            browser.press(key)
            has(browser, "#heat-readout", f"Shard {shard} ·")
        browser.press("Enter")
        has(browser, "dialog", "Content of shard 1")
        browser.press("Escape")
        browser.wait_for("!document.querySelector('dialog') && document.activeElement.tagName === 'CANVAS'")
        clean(browser)


@check
def focus_and_scroll_survive_updates(browser):
    with Fixture(ticking=False, allow_actions=True) as fixture:
        cluster = fixture.cluster
        open_page(browser, fixture.url, "shards?sort=reads&order=down")
        browser.evaluate("scrollTo(0, 500); document.querySelectorAll('tbody tr')[20].querySelector('button').focus({ preventScroll: true }); window.focused = document.activeElement; 0")
        at = browser.evaluate("scrollY")
        for _ in range(5):
            cluster.update()
            drawn(browser, cluster)
        expect(browser.evaluate("document.activeElement === window.focused"), "an update took the focus away")
        expect(abs(browser.evaluate("scrollY") - at) < 2, f"an update scrolled from {at} to {browser.evaluate('scrollY')}")
        fill_in(browser, "input[type=search]", "Serv")
        cluster.update()
        drawn(browser, cluster)
        browser.type("ing")
        browser.wait_for("document.querySelector('input[type=search]').value === 'Serving' && location.hash.includes('q=Serving')")
        # A dialog stays open.
        browser.click("[aria-label='Move shard 3'], [aria-label^='Move shard']")
        browser.click("[role=menuitem]")
        cluster.update()
        drawn(browser, cluster)
        expect(browser.evaluate("document.querySelector('dialog').open"), "an update closed the dialog")
        browser.press("Escape")
        clean(browser)


@check
def theme_is_remembered(browser):
    with Fixture(interval_ms=500) as fixture:
        browser.scheme("light")
        open_page(browser, fixture.url, "overview")
        ground = "getComputedStyle(document.body).backgroundColor"
        light = browser.evaluate(ground)
        browser.click("#theme")
        browser.click("#theme")
        has(browser, "#theme", "Theme: dark")
        browser.wait_for(f"{ground} !== {json.dumps(light)}")
        browser.call("Page.reload")
        browser.wait_for(f"document.querySelector('#panel[data-sequence]') && {ground} !== {json.dumps(light)}")
        browser.click("#theme")
        browser.wait_for(f"{ground} === {json.dumps(light)}")
        clean(browser)


def screenshots(url, directory, names=NAMES, prepare={}):
    """Of every page, light and dark, wide and as on a phone. The server may be any. `prepare`: by name of the page, what is
    done with the browser before the picture."""
    os.makedirs(directory, exist_ok=True)
    paths = []
    with Browser() as browser:
        for scheme in ["light", "dark"]:
            browser.scheme(scheme)
            for kind, size in [("wide", DESKTOP), ("phone", PHONE)]:
                browser.viewport(*size, kind == "phone")
                for name in names:
                    open_page(browser, url, name, 60)
                    if name == "overview":
                        browser.wait_for("document.querySelector('.chart path.line').getAttribute('d') !== null")
                    if name in prepare:
                        prepare[name](browser)
                    path = os.path.join(directory, f"{name}-{scheme}-{kind}.png")
                    browser.screenshot(path)
                    paths.append(path)
    return paths


def main(arguments):
    # So that the browser is ended also when this is.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    if "--list" in arguments:
        print("\n".join(function.__name__ for function in CHECKS))
        return 0
    if "--screenshots" in arguments:
        directory, *url = arguments[arguments.index("--screenshots") + 1:]
        if url:
            paths = screenshots(url[0], directory)
        else:
            with Fixture(allow_actions=True) as fixture:
                fixture.cluster.start_move(3, 102)
                fixture.cluster.lose_node(101, 0)
                paths = screenshots(fixture.url, directory)
        print("\n".join(paths))
        return 0
    part, parts = 1, 1
    if arguments[:1] == ["--part"]:
        part, parts = map(int, arguments[1].split("/"))
        arguments = arguments[2:]
    # Neighbours take about as long as each other.
    chosen = [function for function in CHECKS[part - 1::parts] if not arguments or any(word in function.__name__ for word in arguments)]
    if not chosen:
        print(f"no check has {' or '.join(arguments)} in its name; --list lists them", file=sys.stderr)
        return 64
    failed = 0
    with Browser() as browser:
        for function in chosen:
            browser.viewport(*DESKTOP)
            browser.scheme("light")
            # The page of the check before may still ask its server, which has gone.
            browser.navigate("about:blank")
            browser.forget()
            began = time.monotonic()
            try:
                function(browser)
                print(f"ok {function.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
            except (Failure, BrowserError) as failure:
                failed += 1
                print(f"FAILED {function.__name__}: {failure}", flush=True)
            except Exception as error:
                failed += 1
                print(f"FAILED {function.__name__}: {error!r}", flush=True)
                traceback.print_exc()
    print(f"{len(chosen) - failed} of {len(chosen)} checks passed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
