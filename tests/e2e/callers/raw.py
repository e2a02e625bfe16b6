"""The Invoke API on the wire: whole headers and bodies, of Lambda and, with --rie-compat, of its
emulator. Asked by curl alone: SDKs never see the emulator's answers as they are.
"""

import base64
import json

from callers import NAME, event
from cases import ARN, NO_TIMEOUT, Case, held
from service import Service

PATH = f"/2015-03-31/functions/{NAME}/invocations"
BODY = {"content-type": "application/json", "x-content-type-options": "nosniff"}
ID = "12345678-9abc-4def-8123-456789abcdef"


class RawCase(Case):
    options = ()

    @classmethod
    def setUpClass(cls):
        cls.service = cls.enterClassContext(Service(cls.bin_dir, *cls.options))

    def ask(self, payload=b"{}", method="POST", path=PATH, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.caller(self.service.url).request(method, path, payload, headers)

    def assert_is(self, seen, status, body, headers):
        found = dict(seen.headers)
        self.assertRegex(found.pop("date"), "^[A-Z][a-z]{2}, .* GMT$")
        found.pop("connection", None)  # Closed where the payload was not read.
        self.assertEqual(seen.status, status)
        self.assertEqual(seen.payload.decode(), body)
        if status != 204:  # RFC 9110, 8.6.
            headers = {**headers, "content-length": str(len(body.encode()))}
        self.assertEqual(found, headers)


class OnTheWire(RawCase):
    options = (*NO_TIMEOUT, "--concurrency", "1", "--queue", "0", "--events", "0")

    def test_answer(self):
        self.assert_is(self.ask(b'{"a":1}', X_Amzn_RequestId=ID), 200, '{"a":1}', {
            **BODY, "x-amz-executed-version": "$LATEST", "x-amzn-requestid": ID})

    def test_no_payload_is_an_empty_object(self):
        self.assertEqual(self.ask(b"").payload, b"{}")

    def test_function_error(self):
        self.assert_is(self.ask(event(do="exit"), X_Amzn_RequestId=ID), 200,
                       '{"errorType":"Runtime.ExitError","errorMessage":"RequestId: ' + ID +
                       ' Error: Runtime exited with error: exit status 3"}',
                       {**BODY, "x-amz-function-error": "Unhandled",
                        "x-amz-executed-version": "$LATEST", "x-amzn-requestid": ID})

    def test_refused(self):
        seen = self.ask(path=PATH.replace(NAME, "nobody"))
        self.assert_is(seen, 404, '{"Type":"User","Message":"Function not found: ' +
                       ARN.replace(NAME, "nobody") + '"}',
                       {**BODY, "x-amzn-errortype": "ResourceNotFoundException",
                        "x-amzn-requestid": seen.headers["x-amzn-requestid"]})
        self.assert_is(self.ask(X_Amz_Client_Context="!", X_Amzn_RequestId=ID), 400,
                       '{"Type":"User","message":"Client context must be a valid Base64-encoded '
                       'JSON object."}',
                       {**BODY, "x-amzn-errortype": "InvalidRequestContentException",
                        "x-amzn-requestid": ID})

    def test_throttled(self):
        wanted = {**BODY, "x-amzn-errortype": "TooManyRequestsException", "retry-after": "1",
                  "x-amzn-requestid": ID}
        body = ('{"Reason":"ReservedFunctionConcurrentInvocationLimitExceeded","Type":"User",'
                '"message":"Rate Exceeded."}')
        since = self.service.mark()
        with held(self.service, "for 429"):
            self.assert_is(self.ask(X_Amzn_RequestId=ID), 429, body, wanted)
        self.service.wait_for_outcome("cancelled", since)
        self.assert_is(self.ask(X_Amz_Invocation_Type="Event", X_Amzn_RequestId=ID), 429, body,
                       wanted)

    def test_dry_run(self):
        self.assert_is(self.ask(X_Amz_Invocation_Type="DryRun", X_Amzn_RequestId=ID), 204, "",
                       {"x-amzn-requestid": ID})

    def test_wrong_headers(self):
        for words in ({"X_Amz_Invocation_Type": "Sometimes"}, {"X_Amz_Log_Type": "Head"}):
            seen = self.ask(**words)
            self.assertEqual(seen.status, 400)
            self.assertEqual(seen.headers["x-amzn-errortype"], "InvalidParameterValueException")

    def test_other_methods_are_not_for_it(self):
        for method in ("GET", "PUT", "DELETE"):
            seen = self.ask(method=method)
            self.assertEqual((seen.status, seen.headers["allow"]), (405, "POST"))

    def test_trace_id_reaches_the_handler(self):
        trace = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1"
        told = json.loads(self.ask(event(do="context"), X_Amzn_Trace_Id=trace).payload)
        self.assertEqual(told["trace_id"], trace)

    def test_too_large_a_payload_of_no_told_length(self):
        seen = self.ask(b'"' + b"a" * 6291556 + b'"', Transfer_Encoding="chunked")
        self.assertEqual((seen.status, seen.headers["x-amzn-errortype"]),
                         (413, "RequestTooLargeException"))


class EmulatorCase(RawCase):
    def assert_said(self, seen, status, body):
        """The emulator's proxy loses all headers of the answer, and guesses one."""
        self.assert_is(seen, status, body, {"content-type": "text/plain; charset=utf-8",
                                            "x-content-type-options": "nosniff"})


class Emulator(EmulatorCase):
    options = (*NO_TIMEOUT, "--rie-compat")

    def test_answer(self):
        since = self.service.mark()
        self.assert_said(self.ask(b'{"a":1}', X_Amzn_RequestId=ID), 200, '{"a":1}')
        for line in (f"START RequestId: {ID} Version: $LATEST", f"END RequestId: {ID}"):
            self.service.wait_for_handler(line, since)
        self.service.wait_for(lambda record: record["message"].startswith(f"REPORT RequestId: {ID}"),
                              since)

    def test_any_method_any_payload(self):
        for method in ("GET", "PUT", "DELETE", "PATCH"):
            self.assert_said(self.ask(b"not json", method=method), 200, "not json")
        self.assert_said(self.ask(b"", path=PATH.replace(NAME, "function")), 200, "")

    def test_it_knows_one_kind_of_call(self):
        for kind in ("Event", "DryRun", "Sometimes"):
            self.assert_said(self.ask(b'"a"', X_Amz_Invocation_Type=kind, X_Amz_Log_Type="Tail"),
                             200, '"a"')

    def test_function_error_is_an_answer(self):
        self.assert_said(self.ask(event(do="fail")), 200,
                         '{"errorMessage":"it was asked to","errorType":"AskedTo"}')

    def test_crash(self):
        for what, how in (("exit", "exit status 3"), ("kill", "signal: killed")):
            self.assert_said(self.ask(event(do=what), X_Amzn_RequestId=ID), 502,
                             '{"errorType":"Runtime.ExitError","errorMessage":"RequestId: ' + ID +
                             ' Error: Runtime exited with error: ' + how + '"}')

    def test_too_large_an_answer(self):
        self.assert_said(self.ask(event(do="large", bytes=6291557)), 200,
                         '{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response '
                         'payload size exceeded maximum allowed payload size (6291556 bytes)."}')

    def test_client_context(self):
        encoded = base64.b64encode(b'{"custom":{}}').decode()
        told = json.loads(self.ask(event(do="context"), X_Amz_Client_Context=encoded).payload)
        self.assertEqual(told["client_context"], '{"custom":{}}')
        self.assertEqual(self.ask(X_Amz_Client_Context="!").status, 500)

    def test_unknown_function(self):
        self.assertEqual(self.ask(path=PATH.replace(NAME, "nobody")).status, 404)


class HastyEmulator(EmulatorCase):
    options = ("--timeout", "1s", "--rie-compat")

    def test_timeout(self):
        self.assert_said(self.ask(event(do="hold")), 200, "Task timed out after 1.00 seconds")
