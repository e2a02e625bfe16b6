"""A headless Chromium, driven over WebDriver by what Python has on board.

Knows no page. Every wait is for an event of the browser's or of a process; the limits end a test
that waits in vain. What is started here ends with the `with` that it was started in.
"""

import base64
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request

PATIENCE_SECONDS = 60
QUIET = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--no-proxy-server", "--hide-scrollbars"]
# Calls back when `condition` holds: now, or at a change of the document.
AWAIT = """
const [condition, done] = [new Function("return (" + arguments[0] + ")"), arguments[1]];
const look = () => { if (!condition()) return false; watch.disconnect(); done(true); return true; };
const watch = new MutationObserver(look);
watch.observe(document, {subtree: true, childList: true, attributes: true, characterData: true});
look();
"""
direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Missing(Exception):
    """There is no browser here; says what to install."""


def end_group(process):
    """A process that leads a group of its own, and all that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def check():
    """Raises Missing."""
    for program in ("chromium", "chromedriver"):
        if not shutil.which(program):
            raise Missing(f"{program} is not installed: apt-get install chromium chromium-driver")


class Browser:
    def __init__(self):
        self._profile = tempfile.mkdtemp(prefix="fnrun-browser-")
        self._driver = subprocess.Popen(["chromedriver", "--port=0"], text=True,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        stdin=subprocess.DEVNULL, start_new_session=True)

    def __enter__(self):
        try:
            self._base = f"http://127.0.0.1:{self._port()}/session"
            options = {"binary": shutil.which("chromium"),
                       "args": QUIET + [f"--user-data-dir={self._profile}"]}
            session = self._post("", {"capabilities": {"alwaysMatch": {
                "goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"},
                "timeouts": {"script": PATIENCE_SECONDS * 1000}}}})
            self._base += "/" + session["sessionId"]
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        # A browser that does not end by itself is in the driver's group.
        end_group(self._driver)
        self._driver.stdout.close()
        shutil.rmtree(self._profile, ignore_errors=True)

    def _port(self):
        said = []
        for line in self._driver.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                return int(found[1])
            said.append(line)
        raise RuntimeError("chromedriver did not start: " + "".join(said))

    def _post(self, path, body):
        request = urllib.request.Request(self._base + path, json.dumps(body).encode(),
                                         {"Content-Type": "application/json"})
        return self._answer(request)

    def _answer(self, request):
        try:
            with direct.open(request, timeout=2 * PATIENCE_SECONDS) as answer:
                return json.load(answer)["value"]
        except urllib.error.HTTPError as error:
            value = json.load(error)["value"]
            raise RuntimeError(f"{value['error']}: {value['message'].splitlines()[0]}") from error

    def open(self, url):
        self._post("/url", {"url": url})

    def run(self, script, *arguments):
        """The body of a function; what it returns."""
        return self._post("/execute/sync", {"script": script, "args": list(arguments)})

    def wait(self, condition):
        """Until this expression is true."""
        try:
            self._post("/execute/async", {"script": AWAIT, "args": [condition]})
        except RuntimeError as error:
            text = self.run("return document.body.innerText")
            raise AssertionError(f"never came true: {condition}\n{error}\n{text}") from error

    def devtools(self, command, **parameters):
        return self._post("/goog/cdp/execute", {"cmd": command, "params": parameters})

    def size(self, width, height):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height,
                      deviceScaleFactor=1, mobile=False)

    def colour_scheme(self, scheme):
        self.devtools("Emulation.setEmulatedMedia",
                      features=[{"name": "prefers-color-scheme", "value": scheme}])

    def screenshot(self, path):
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=True)
        with open(path, "wb") as file:
            file.write(base64.b64decode(shot["data"]))

    def console(self):
        """What the console said since it was asked last."""
        return [f"{entry['level']}: {entry['message']}"
                for entry in self._post("/se/log", {"type": "browser"})]
