#!/usr/bin/env python3
"""The status page in a browser: it shows calls as they come, in whatever size and light, and says
so when the service is gone.

usage: page_test.py FNRUN_SUPERVISE HOSTILE_HANDLER FOLDER_FOR_SCREENSHOTS
"""

import json
import os
import re
import signal
import subprocess
import sys
import unittest
import urllib.error

import browser

SUPERVISE, HANDLER, SHOTS = sys.argv[1:4]
CARD = "document.querySelector('[data-function]')"
HEADLINE = "document.getElementById('headline').textContent"
EVIL = "<img src=x onerror='window.evil = 1'>\u202e"
# Draws a status without a service, reads the page, all at once: no answer comes in between.
DRAWN = """
const status = JSON.parse(arguments[0]);
draw(status);
return {headline: document.getElementById("headline").textContent,
        state: document.getElementById("banner").dataset.state,
        names: [...document.querySelectorAll("#functions h3")].map(e => e.textContent),
        text: document.getElementById("functions").textContent,
        images: document.images.length, evil: window.evil === undefined};
"""


class Service:
    """`fnrun-supervise --listen`, on a port of its own choice."""

    def __init__(self):
        self._process = subprocess.Popen(
            [SUPERVISE, "--listen", "127.0.0.1:0", "--", HANDLER, "count_calls", "/dev/null"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
            start_new_session=True)
        self.url = self._url()

    def _url(self):
        said = []
        for line in self._process.stderr:
            found = re.search(r"listening on (http://127\.0\.0\.1:\d+)", line)
            if found:
                return found[1]
            said.append(line)
        raise RuntimeError("the service did not start: " + "".join(said))

    def call(self, event):
        """The HTTP status."""
        try:
            with browser.direct.open(self.url + "/invoke", event.encode(), timeout=60) as answer:
                return answer.status
        except urllib.error.HTTPError as error:
            with error:
                return error.code

    def get(self, path):
        with browser.direct.open(self.url + path, timeout=60) as answer:
            return answer.headers, answer.read().decode()

    def stop(self):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            # To its end, so that it is never held up by what it says.
            self._process.stderr.read()
        self._process.stderr.close()
        self._process.wait()


class PageTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        os.makedirs(SHOTS, exist_ok=True)
        cls.browser = browser.Browser()
        cls.browser.__enter__()
        cls.addClassCleanup(cls.browser.__exit__)

    def setUp(self):
        self.service = Service()
        self.addCleanup(self.service.stop)
        # Before it stops: the page would complain.
        self.addCleanup(self.browser.console)
        self.addCleanup(self.browser.open, "about:blank")
        self.browser.size(1600, 1000)
        self.browser.colour_scheme("light")

    def open(self):
        self.browser.open(self.service.url + "/")
        self.browser.wait(CARD)

    def shot(self, name):
        self.browser.screenshot(os.path.join(SHOTS, name + ".png"))

    def outcome(self, name):
        return f"{CARD}.querySelector('[data-table=invocations] [data-name={name}] td')?.textContent"

    def drawn(self, change):
        """What the page shows of the service's own status, changed so."""
        status = json.loads(self.service.get("/status")[1])
        change(status)
        return self.browser.run(DRAWN, json.dumps(status))

    def test_shows_calls_as_they_come(self):
        self.open()
        self.browser.wait(f"{HEADLINE} === 'All is well'")
        for _ in range(3):
            self.assertEqual(self.service.call("event"), 200)
        self.browser.wait(f"{self.outcome('ok')} === '3'")
        self.browser.wait(f"{CARD}.querySelector('[data-field=p50]').textContent !== '–'")
        self.browser.wait(f"{CARD}.querySelector('.spark .ended').getAttribute('d')")
        self.assertEqual(self.service.call("crash"), 502)
        self.browser.wait(f"{self.outcome('crashed')} === '1'")
        self.browser.wait(f"!{CARD}.querySelector('.failures').hidden")
        self.browser.run(f"{CARD}.querySelector('.failures').open = true")
        self.assertIn("SIGABRT", self.browser.run(f"return {CARD}.querySelector('ol').textContent"))
        # One of four failed: that is not well.
        self.browser.wait(f"{HEADLINE}.endsWith('is failing calls')")
        self.shot("calls")
        self.assertEqual(self.browser.console(), [])

    def test_says_so_when_the_service_is_gone(self):
        self.open()
        self.assertEqual(self.browser.console(), [])
        self.service.stop()
        self.browser.wait(f"{HEADLINE} === 'The service does not answer'")
        self.browser.wait("document.body.classList.contains('stale')")
        self.shot("gone")

    def test_words_of_handlers_are_text(self):
        def change(status):
            function = status["functions"][0]
            function.update({"name": EVIL, "policy": EVIL, "handler": EVIL, "degraded": True,
                             "state": "degraded", "degraded_because": EVIL,
                             "degraded_layers": {EVIL: EVIL}, "kills": {EVIL: 1},
                             "invocations": {EVIL: 1}})
            function["recent_failures"] = [{"time_ms": 1, "times": 2, "outcome": EVIL,
                                            "description": EVIL, "request_id": EVIL}]
            status["version"] = EVIL

        self.open()
        drawn = self.drawn(change)
        self.assertEqual(drawn["names"], [EVIL])
        # Name, policy and handler, why; outcome, kill; three of the failure; the layer and why.
        self.assertGreaterEqual(drawn["text"].count("<img"), 10)
        self.assertEqual(drawn["images"], 0)
        self.assertTrue(drawn["evil"])
        self.assertEqual(self.browser.console(), [])

    def test_trouble_stands_first(self):
        def change(status):
            well = status["functions"][0]
            ill = dict(well, name="zebra", state="degraded", degraded=True)
            status["functions"] = [dict(well, name="ant"), ill]

        self.open()
        drawn = self.drawn(change)
        self.assertEqual(drawn["headline"], "zebra is degraded")
        self.assertEqual(drawn["state"], "degraded")
        self.assertEqual(drawn["names"], ["zebra", "ant"])
        self.assertEqual(self.drawn(lambda status: status.update(state="draining"))["state"],
                         "draining")

    def test_fits_every_width_in_light_and_dark(self):
        self.service.call("event")
        self.open()
        for width in (320, 400, 800, 1600):
            for scheme in ("light", "dark"):
                self.browser.size(width, 1000)
                self.browser.colour_scheme(scheme)
                self.assertLessEqual(
                    self.browser.run("return document.documentElement.scrollWidth"), width)
                self.shot(f"{width}-{scheme}")
        self.assertEqual(self.browser.console(), [])

    def test_has_headings_and_tables_that_can_be_read_out(self):
        self.service.call("event")
        self.open()
        self.browser.wait(f"{self.outcome('ok')} === '1'")
        self.assertEqual(self.browser.run(
            "return ['h1', 'h2', 'h3'].map(name => document.querySelectorAll(name).length)"),
            [1, 2, 1])
        self.assertEqual(self.browser.run(
            "return [...document.querySelectorAll('table')].filter(table => !table.caption || "
            "[...table.querySelectorAll('th')].some(th => !th.scope)).length"), 0)
        self.assertIn("Calls in each second", self.browser.run(
            f"return {CARD}.querySelector('svg').getAttribute('aria-label')"))
        self.assertEqual(self.browser.run(
            "return document.querySelectorAll('[aria-live]').length"), 1)

    def test_forbids_itself_everything_else(self):
        policy = self.service.get("/")[0]["Content-Security-Policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("unsafe", policy)
        self.open()
        # What a script that was smuggled in would do.
        self.browser.run("const e = document.createElement('script'); e.textContent = 'evil = 1';"
                         "document.body.append(e)")
        self.assertEqual(self.browser.run("return typeof evil"), "undefined")
        self.assertIn("Content Security Policy", " ".join(self.browser.console()))


def skip(what, why):
    """Unless FNRUN_REQUIRE says that `what` has to be here."""
    print(why)
    sys.exit(1 if what in os.environ.get("FNRUN_REQUIRE", "") else 77)


if __name__ == "__main__":
    try:
        browser.check()
    except browser.Missing as missing:
        skip("browser", missing)
    if subprocess.run(["unshare", "--user", "true"], check=False).returncode != 0:
        skip("userns", "no user namespace can be made here, so no sandbox")
    unittest.main(argv=sys.argv[:1], verbosity=2)
