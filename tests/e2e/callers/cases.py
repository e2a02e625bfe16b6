"""What any caller of Lambda is shown by our Invoke API: what Lambda would show it.

The same table for each caller of callers.py. The cases share a service where they do not need one
that is full, or hasty; a held call ends by its client's leaving.
"""

import base64
import contextlib
import http.client
import json
import tempfile
import threading
import unittest
import urllib.parse

from callers import NAME, Ask, event
from service import Service

ARN = f"arn:aws:lambda:us-east-1:012345678912:function:{NAME}"
# Longer than anything waits for: who is held is let go.
NO_TIMEOUT = ("--timeout", "10m")


def too_large(most):
    return ("RequestTooLargeException",
            f"Request must be smaller than {most} bytes for the InvokeFunction operation")


@contextlib.contextmanager
def held(service, mark):
    """A call that is being served, for as long as its client stays."""
    connection = http.client.HTTPConnection(urllib.parse.urlsplit(service.url).netloc)
    connection.request("POST", f"/invoke/{NAME}", event(do="hold", mark=mark))
    service.wait_for_handler(f"doing hold {mark}")
    try:
        yield connection
    finally:
        connection.close()


class Case(unittest.TestCase):
    bin_dir = None
    caller = None  # A class of callers.py.

    def seen(self, service, ask):
        seen = self.caller(service.url).invoke(ask)
        self.assertEqual(seen.request_id is not None, self.caller.shows_request_id)
        return seen

    def assert_answered(self, seen, payload, status=200):
        self.assertEqual((seen.error, seen.status, seen.function_error), (None, status, None))
        self.assertEqual(seen.payload, payload)

    def assert_failed(self, seen, payload):
        """The function failed, and the call did not."""
        self.assertEqual((seen.error, seen.status), (None, 200))
        self.assertEqual((seen.function_error, seen.version), ("Unhandled", "$LATEST"))
        found = json.loads(seen.payload)
        self.assertEqual(found["errorType"], payload["errorType"])
        self.assertRegex(found["errorMessage"], "^" + payload["errorMessage"] + "$")
        if seen.request_id is not None and "RequestId" in payload["errorMessage"]:
            self.assertIn(seen.request_id, found["errorMessage"])

    def assert_refused(self, seen, status, error, message):
        self.assertEqual((seen.error, seen.function_error), (error, None))
        if seen.status is not None:
            self.assertEqual(seen.status, status)
        self.assertRegex(seen.message, "^" + message + "$")

    def tail(self, seen):
        """The lines of LogResult, of which START, END and REPORT tell one request id: that."""
        lines = base64.b64decode(seen.log, validate=True).decode().splitlines()
        request_id = lines[-1].split("\t")[0].removeprefix("REPORT RequestId: ")
        if seen.request_id is not None:
            self.assertEqual(seen.request_id, request_id)
        self.assertRegex(lines[-1], r"\tDuration: [0-9.]+ ms\tBilled Duration: \d+ ms\tMemory Size: "
                                    r"\d+ MB\t")
        self.assertEqual(lines[-2], f"END RequestId: {request_id}")
        return lines[:-2], request_id


class Roomy(Case):
    """With places for everybody, and deadlines that nobody meets."""

    @classmethod
    def setUpClass(cls):
        cls.service = cls.enterClassContext(Service(
            cls.bin_dir, *NO_TIMEOUT, "--concurrency", "2"))

    def ask(self, payload=b"{}", **words):
        return self.seen(self.service, Ask(payload=payload, **words))

    def test_success(self):
        payload = '{"text":"Grüße","number":1.50}'.encode()
        for kind in (None, "RequestResponse"):
            seen = self.ask(payload, kind=kind)
            self.assert_answered(seen, payload)
            self.assertEqual((seen.version, seen.log), ("$LATEST", None))

    def test_names(self):
        for name in (ARN, ARN + ":$LATEST", NAME + ":$LATEST", f"012345678912:function:{NAME}",
                     "function"):
            self.assert_answered(self.ask(b'"by name"', name=name), b'"by name"')
        self.assert_answered(self.ask(b'"latest"', qualifier="$LATEST"), b'"latest"')

    def test_function_error(self):
        seen = self.ask(event(do="fail"), log="Tail")
        self.assert_failed(seen, {"errorType": "AskedTo", "errorMessage": "it was asked to"})
        self.assertIn("doing fail -", self.tail(seen)[0])

    def test_crash(self):
        for what, how in (("exit", "exit status 3"), ("kill", "signal: killed")):
            seen = self.ask(event(do=what), log="Tail")
            self.assert_failed(seen, {
                "errorType": "Runtime.ExitError",
                "errorMessage": rf"RequestId: [0-9a-f-]{{36}} Error: Runtime exited with error: {how}"})
            lines, request_id = self.tail(seen)
            self.assertEqual(lines, [f"START RequestId: {request_id} Version: $LATEST",
                                     f"doing {what} -"])
            self.assertIn(request_id, seen.payload.decode())

    def test_too_large_an_answer(self):
        self.assert_failed(self.ask(event(do="large", bytes=6291557)), {
            "errorType": "Function.ResponseSizeTooLarge",
            "errorMessage": r"Response payload size exceeded maximum allowed payload size "
                            r"\(6291556 bytes\)\."})

    def test_log_tail(self):
        payload = event(do="say", lines=2)
        seen = self.ask(payload, log="Tail")
        self.assert_answered(seen, payload)
        lines, request_id = self.tail(seen)
        self.assertEqual(lines, [f"START RequestId: {request_id} Version: $LATEST", "doing say -",
                                 "line 1 " + "." * 200, "line 2 " + "." * 200])
        self.assertIsNone(self.ask(payload, log="None").log)

    def test_log_tail_is_its_last_4_kib(self):
        seen = self.ask(event(do="say", lines=30), log="Tail")
        self.assertEqual(len(base64.b64decode(seen.log)), 4096)
        self.assertEqual(self.tail(seen)[0][-1], "line 30 " + "." * 200)

    def test_event(self):
        since = self.service.mark()
        payload = event(mark=self.id())
        seen = self.ask(payload, kind="Event")
        self.assert_answered(seen, b"", status=202)
        served = self.service.wait_for_handler(f"doing echo {self.id()}", since)
        if seen.request_id is not None:
            self.assertEqual(served["request_id"], seen.request_id)

    def test_dry_run(self):
        since = self.service.mark()
        self.assert_answered(self.ask(event(do="exit", mark="dry"), kind="DryRun"), b"", status=204)
        # Nothing was called: the next call is the first to be heard of.
        self.ask(event(mark="after dry"))
        heard = self.service.wait_for(lambda record: record["message"].startswith("doing "), since)
        self.assertEqual(heard["message"], "doing echo after dry")
        self.assert_refused(self.ask(kind="DryRun", name="nobody"), 404, "ResourceNotFoundException",
                            "Function not found: .*:function:nobody")

    def test_client_context_and_request_id(self):
        context = {"client": {"app_title": "a test"}, "custom": {"k": "v"}}
        encoded = base64.b64encode(json.dumps(context).encode()).decode()
        seen = self.ask(event(do="context"), context=encoded, log="Tail")
        told = json.loads(seen.payload)
        self.assertEqual(json.loads(told["client_context"]), context)
        self.assertEqual(told["request_id"], self.tail(seen)[1])
        self.assertIsNone(json.loads(self.ask(event(do="context")).payload)["client_context"])

    def test_bad_client_context(self):
        not_json, no_object = base64.b64encode(b"{").decode(), base64.b64encode(b"[]").decode()
        for context in ("!", not_json, no_object):
            self.assert_refused(self.ask(context=context), 400, "InvalidRequestContentException",
                                "Client context must be a valid Base64-encoded JSON object.")
        long = base64.b64encode(b'{"a":"' + b"a" * 2700 + b'"}').decode()
        self.assert_refused(self.ask(context=long), 400, "InvalidRequestContentException",
                            "Client context must be at most 3583 bytes .*")

    def test_unknown_function(self):
        self.assert_refused(self.ask(name="nobody"), 404, "ResourceNotFoundException",
                            "Function not found: arn:aws:lambda:us-east-1:012345678912:function:nobody")

    def test_unknown_qualifier(self):
        for words in ({"qualifier": "v7"}, {"name": NAME + ":v7"}):
            self.assert_refused(self.ask(**words), 404, "ResourceNotFoundException",
                                f"Function not found: {ARN}:v7")

    def test_payload_that_is_not_json(self):
        for kind in ("RequestResponse", "Event", "DryRun"):
            self.assert_refused(self.ask(b"{not json", kind=kind), 400,
                                "InvalidRequestContentException",
                                "Could not parse request body into json: .*")

    def test_largest_payload_and_one_more(self):
        most = event(do="length", pad="")
        most = event(do="length", pad="a" * (6291556 - len(most)))
        self.assert_answered(self.ask(most), b"6291556")
        self.assert_refused(self.ask(most + b" "), 413, *too_large(6291556))

    def test_too_large_an_event(self):
        self.assert_refused(self.ask(b'"' + b"a" * (1024 * 1024 - 1) + b'"', kind="Event"), 413,
                            *too_large(1048576))


class Small(Case):
    """A payload that is too large, but soon sent."""

    def test_too_large_a_payload(self):
        with tempfile.NamedTemporaryFile("w", suffix=".json") as policy:
            json.dump({"version": 1, "extends": "strict", "description": "small requests",
                       "limits": {"request_max_bytes": 65536}}, policy)
            policy.flush()
            with Service(self.bin_dir, *NO_TIMEOUT, "--policy", policy.name) as service:
                payload = b'"' + b"a" * 65534 + b'"'
                self.assert_answered(self.seen(service, Ask(payload=payload)), payload)
                self.assert_refused(self.seen(service, Ask(payload=payload + b" ")), 413,
                                    *too_large(65536))


class Hasty(Case):
    def test_timeout(self):
        with Service(self.bin_dir, "--timeout", "1s", "--concurrency", "1") as service:
            seen = self.seen(service, Ask(payload=event(do="hold"), log="Tail"))
        self.assert_failed(seen, {
            "errorType": "Sandbox.Timedout",
            "errorMessage": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [0-9a-f-]{36} "
                            r"Task timed out after 1.00 seconds"})
        lines, request_id = self.tail(seen)
        self.assertIn(request_id, seen.payload.decode())
        self.assertIn("doing hold -", lines)


class Full(Case):
    """One place, and no queue."""

    def setUp(self):
        self.service = self.enterContext(Service(
            self.bin_dir, *NO_TIMEOUT, "--concurrency", "1", "--queue", "0", "--events", "1"))

    def assert_throttled(self, seen):
        self.assert_refused(seen, 429, "TooManyRequestsException", r"Rate Exceeded\.")

    def test_throttle(self):
        with held(self.service, "first"):
            self.assert_throttled(self.seen(self.service, Ask()))
        self.service.wait_for_outcome("cancelled")
        self.assert_answered(self.seen(self.service, Ask()), b"{}")

    def test_throttled_caller_tries_again(self):
        if not self.caller.tries_again:
            self.skipTest("it tries nothing again")
        answers = []
        caller = threading.Thread(target=lambda: answers.append(
            self.seen(self.service, Ask(payload=b'"again"', attempts=20))))
        with held(self.service, "first"):
            caller.start()
            self.service.wait_for_outcome("unavailable")
        caller.join()
        self.assert_answered(answers[0], b'"again"')

    def test_full_queue_of_events(self):
        mark = self.id()
        with held(self.service, "first"):
            self.assert_answered(self.seen(self.service, Ask(payload=event(mark=mark), kind="Event")),
                                 b"", status=202)
            # While that one is asking for a place another may wait; then there is no room.
            seen = self.seen(self.service, Ask(kind="Event"))
            if seen.status == 202:
                seen = self.seen(self.service, Ask(kind="Event"))
            self.assert_throttled(seen)
        self.service.wait_for_handler(f"doing echo {mark}")
