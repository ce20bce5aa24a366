"""A small client of the Chrome DevTools Protocol: one headless Chromium with one page, driven by real input events.

Needs Debian's chromium-headless-shell (or chromium) and python3-websocket, so run it with /usr/bin/python3.
"""
import base64
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.request

import websocket

BROWSERS = ["chromium-headless-shell", "chromium", "google-chrome"]
DESKTOP = (1360, 900)
PHONE = (390, 844)

KEYS = {
    "Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "PageUp": 33, "PageDown": 34, "End": 35, "Home": 36,
    "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Backspace": 8,
}


class BrowserError(Exception):
    pass


class Browser:
    """A browser process and its page. Use it as a context manager: the process and its directory go at the end."""

    def __init__(self, start_seconds=30):
        program = next((path for path in map(shutil.which, BROWSERS) if path), None)
        if program is None:
            raise BrowserError(f"no browser is installed: none of {', '.join(BROWSERS)}; scripts/bootstrap --test installs one")
        self.directory = tempfile.mkdtemp(prefix="flotilla-browser-")
        self.process = subprocess.Popen(
            [program, "--headless=new", "--no-sandbox", "--remote-debugging-port=0", f"--user-data-dir={self.directory}",
             "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking",
             "--disable-extensions", "--hide-scrollbars", "--force-color-profile=srgb", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        self.socket = None
        self.number = 0
        self.answers = {}
        # What went wrong in the page since the last `forget`.
        self.errors = []
        self.failed_requests = []
        self.dialogs = []
        self.downloads = []
        self.requests = {}
        try:
            self._connect(time.monotonic() + start_seconds)
        except BaseException:
            self.close()
            raise

    def _connect(self, deadline):
        port_file = os.path.join(self.directory, "DevToolsActivePort")
        while True:
            if time.monotonic() > deadline:
                raise BrowserError("the browser didn't open its debugging port in time")
            if self.process.poll() is not None:
                raise BrowserError(f"the browser ended with {self.process.returncode}")
            try:
                with open(port_file) as file:
                    port = int(file.readline())
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as response:
                    pages = [target for target in json.load(response) if target["type"] == "page"]
                if pages:
                    break
            except (OSError, ValueError):
                pass
            time.sleep(0.05)
        self.socket = websocket.create_connection(pages[0]["webSocketDebuggerUrl"], timeout=30, suppress_origin=True)
        for domain in ["Page", "Runtime", "Log", "Network", "DOM"]:
            self.call(f"{domain}.enable")
        # What runs beside the browser isn't counted as the page's work.
        self.call("Performance.enable", timeDomain="threadTicks")
        self.viewport(*DESKTOP)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.socket is not None:
            self.socket.close()
            self.socket = None
        # The browser has processes of its own, in the group that was started for it. They may outlive it for a moment and
        # write to the directory.
        ends = time.monotonic() + 10
        self._signal(signal.SIGTERM)
        while self.process.poll() is None or self._signal(0):
            if time.monotonic() > ends:
                self._signal(signal.SIGKILL)
                self.process.wait(10)
                break
            time.sleep(0.02)
        for _ in range(50):
            shutil.rmtree(self.directory, ignore_errors=True)
            if not os.path.exists(self.directory):
                break
            time.sleep(0.1)

    def _signal(self, number):
        """False when the group has no process left."""
        try:
            os.killpg(self.process.pid, number)
            return True
        except ProcessLookupError:
            return False

    # The protocol

    def call(self, method, seconds=30, **parameters):
        self.number += 1
        number = self.number
        self.socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        deadline = time.monotonic() + seconds
        while number not in self.answers:
            self._receive(deadline - time.monotonic(), method)
        answer = self.answers.pop(number)
        if "error" in answer:
            raise BrowserError(f"{method}: {answer['error'].get('message')}")
        return answer["result"]

    def _receive(self, seconds, waiting_for):
        if seconds <= 0:
            raise BrowserError(f"the browser gave no answer to {waiting_for}")
        self.socket.settimeout(seconds)
        try:
            message = json.loads(self.socket.recv())
        except websocket.WebSocketTimeoutException:
            raise BrowserError(f"the browser gave no answer to {waiting_for}") from None
        if "id" in message:
            self.answers[message["id"]] = message
        else:
            self._event(message["method"], message["params"])

    def _event(self, method, event):
        if method == "Runtime.exceptionThrown":
            details = event["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and event["type"] in ("error", "assert"):
            self.errors.append(" ".join(str(each.get("value", each.get("description"))) for each in event["args"]))
        elif method == "Log.entryAdded" and event["entry"]["level"] == "error":
            self.errors.append(f"{event['entry']['text']} {event['entry'].get('url', '')}".strip())
        elif method == "Network.requestWillBeSent":
            self.requests[event["requestId"]] = event["request"]
        elif method == "Network.loadingFailed" and not event.get("canceled"):
            self.failed_requests.append((self.requests.get(event["requestId"], {}).get("url"), event["errorText"]))
        elif method == "Network.responseReceived" and event["response"]["status"] >= 400:
            self.failed_requests.append((event["response"]["url"], str(event["response"]["status"])))
        elif method == "Page.javascriptDialogOpening":
            self.dialogs.append(event["message"])
            self.socket.send(json.dumps({"id": 0, "method": "Page.handleJavaScriptDialog", "params": {"accept": False}}))
        elif method in ("Page.downloadWillBegin", "Browser.downloadWillBegin"):
            self.downloads.append(event["suggestedFilename"])

    def forget(self):
        self.errors.clear()
        self.failed_requests.clear()
        self.dialogs.clear()
        self.downloads.clear()
        self.requests.clear()

    # The page

    def navigate(self, url):
        # Only a change of the hash doesn't load anew, so the page is left first.
        self.call("Page.navigate", url="about:blank")
        self.wait_for("location.href === 'about:blank'")
        answer = self.call("Page.navigate", url=url)
        if "errorText" in answer:
            raise BrowserError(f"{url}: {answer['errorText']}")
        self.wait_for("document.readyState === 'complete'")

    def evaluate(self, expression, seconds=30):
        answer = self.call("Runtime.evaluate", seconds, expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise BrowserError(f"{expression}: {details.get('exception', {}).get('description') or details['text']}")
        return answer["result"].get("value")

    def wait_for(self, expression, seconds=15):
        """Until the expression is true; what it then is. An exception in it means not yet."""
        deadline = time.monotonic() + seconds
        last = None
        while True:
            try:
                # A node itself would come as an empty object.
                last = self.evaluate(f"((value) => value instanceof Node || value)({expression})")
                if last:
                    return last
            except BrowserError as error:
                last = error
            if time.monotonic() > deadline:
                raise BrowserError(f"not within {seconds} s: {expression} (last: {last})")
            time.sleep(0.05)

    def viewport(self, width, height, phone=False):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone)
        self.call("Emulation.setTouchEmulationEnabled", enabled=phone)

    def scheme(self, name):
        """light or dark"""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def screenshot(self, path, whole=True):
        options = {"format": "png"}
        if whole:
            size = self.call("Page.getLayoutMetrics")["cssContentSize"]
            options["captureBeyondViewport"] = True
            options["clip"] = {"x": 0, "y": 0, "width": size["width"], "height": min(size["height"], 5000), "scale": 1}
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("Page.captureScreenshot", 60, **options)["data"]))

    # Input

    def place(self, selector):
        """The middle of an element, scrolled into view."""
        box = self.evaluate(f"""(() => {{
            const node = document.querySelector({json.dumps(selector)});
            if (!node) return null;
            node.scrollIntoView({{ block: "center", behavior: "instant" }});
            const box = node.getBoundingClientRect();
            return [box.left + box.width / 2, box.top + box.height / 2];
        }})()""")
        if box is None:
            raise BrowserError(f"there is no {selector}")
        return box

    def mouse(self, kind, x, y, buttons=0):
        pressed = kind in ("mousePressed", "mouseReleased")
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left" if pressed or buttons else "none",
                  buttons=buttons, clickCount=1 if pressed else 0)

    def click(self, selector):
        x, y = self.place(selector)
        self.mouse("mouseMoved", x, y)
        self.mouse("mousePressed", x, y, 1)
        self.mouse("mouseReleased", x, y)

    def drag(self, start, end, steps=8, before_drop=None):
        """From one place to another, in the coordinates of the window."""
        self.mouse("mouseMoved", *start)
        self.mouse("mousePressed", *start, 1)
        for step in range(1, steps + 1):
            self.mouse("mouseMoved", *(a + (b - a) * step / steps for a, b in zip(start, end)), 1)
        if before_drop:
            before_drop()
        self.mouse("mouseReleased", *end)

    def press(self, key, shift=False):
        code = KEYS.get(key) or ord(key.upper())
        text = {"Enter": "\r", " ": " "}.get(key, key if len(key) == 1 else None)
        options = {"key": key, "code": "Space" if key == " " else key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        self.call("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", **options, **({"text": text} if text else {}))
        self.call("Input.dispatchKeyEvent", type="keyUp", **options)

    def type(self, text):
        self.call("Input.insertText", text=text)

    # Figures

    def elements(self):
        return self.evaluate("document.getElementsByTagName('*').length")

    def nodes(self):
        """All nodes of the document: elements, texts and what else there is."""
        return self.evaluate("""(() => {
            const walker = document.createTreeWalker(document, NodeFilter.SHOW_ALL);
            let count = 1;
            while (walker.nextNode()) count += 1;
            return count;
        })()""")

    def kept_nodes(self):
        """All nodes that the page holds, also outside of the document."""
        self.call("HeapProfiler.collectGarbage", 60)
        return self.call("Memory.getDOMCounters")["nodes"]

    def metric(self, name):
        return next(each["value"] for each in self.call("Performance.getMetrics")["metrics"] if each["name"] == name)
