"""The callers of Lambda's Invoke API, behind one question and one answer.

Each is asked in its own way and shows in its own way what it got; what is not shown is None. None of
them tries again unless it is told to. A caller that is not here says so by Missing.
"""

import dataclasses
import json
import os
import re
import shutil
import subprocess
import tempfile
import urllib.parse

# Signatures are made, and nobody looks at them. Nothing of the user's own configuration is read.
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "AWS_ACCESS_KEY_ID": "nobody",
    "AWS_SECRET_ACCESS_KEY": "nothing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_PAGER": "",
    "NO_PROXY": "127.0.0.1",
}
NAME = "callee"


class Missing(Exception):
    """The caller is not on this machine; says what is to be installed."""


@dataclasses.dataclass
class Ask:
    payload: bytes = b"{}"
    name: str = NAME
    kind: str = None  # InvocationType
    log: str = None  # LogType
    context: str = None  # ClientContext, encoded
    qualifier: str = None
    attempts: int = 1


@dataclasses.dataclass
class Seen:
    """What the caller shows; `error`: it says that the call failed, by this name."""
    status: int = None
    payload: bytes = None
    function_error: str = None
    version: str = None
    log: str = None  # LogResult, encoded
    request_id: str = None
    error: str = None
    message: str = None
    headers: dict = None  # Lower case; curl alone shows them.


def event(**what):
    return json.dumps(what).encode()


class Caller:
    """Made with the address of the service; invoke() is one call."""
    shows_request_id = True
    tries_again = True  # If it is told to.


class Curl(Caller):
    """As a person would try it: the API's own words, and nothing of an SDK."""
    tries_again = False

    def __init__(self, url):
        if shutil.which("curl") is None:
            raise Missing("curl is not installed")
        self._url = url

    def invoke(self, ask):
        headers = {"X-Amz-Invocation-Type": ask.kind, "X-Amz-Log-Type": ask.log,
                   "X-Amz-Client-Context": ask.context}
        path = f"/2015-03-31/functions/{urllib.parse.quote(ask.name, safe='')}/invocations"
        if ask.qualifier is not None:
            path += "?Qualifier=" + urllib.parse.quote(ask.qualifier)
        seen = self.request("POST", path, ask.payload, headers)
        seen.function_error = seen.headers.get("x-amz-function-error")
        seen.version = seen.headers.get("x-amz-executed-version")
        seen.log = seen.headers.get("x-amz-log-result")
        seen.request_id = seen.headers.get("x-amzn-requestid")
        seen.error = seen.headers.get("x-amzn-errortype")
        if seen.error is not None:
            body = json.loads(seen.payload)
            seen.message = body.get("message", body.get("Message"))
            assert body["Type"] in ("User", "Service"), body
        return seen

    def request(self, method, path, payload, headers):
        with tempfile.TemporaryDirectory() as folder:
            head, body = os.path.join(folder, "head"), os.path.join(folder, "body")
            command = ["curl", "--disable", "--silent", "--show-error", "--noproxy", "*",
                       "--request", method, "--dump-header", head, "--output", body,
                       "--data-binary", "@-", "--header", "Content-Type: application/json"]
            for name, value in headers.items():
                if value is not None:
                    command += ["--header", f"{name}: {value}"]
            done = subprocess.run([*command, self._url + path], input=payload, check=False,
                                  env=ENVIRONMENT, stderr=subprocess.PIPE)
            if done.returncode != 0:
                raise AssertionError(f"curl: {done.returncode}: {done.stderr.decode()}")
            with open(head, encoding="latin-1") as file:
                # Behind the interim ones, 100 Continue.
                last = file.read().strip().replace("\r\n", "\n").split("\n\n")[-1].split("\n")
            found = dict(line.split(": ", 1) for line in last[1:])
            content = b""
            if os.path.exists(body):  # curl makes none for no body.
                with open(body, "rb") as file:
                    content = file.read()
        return Seen(status=int(last[0].split(" ")[1]), payload=content,
                    headers={name.lower(): value for name, value in found.items()})


class AwsCli(Caller):
    shows_request_id = False

    def __init__(self, url):
        # Debian's; another in the PATH is another program.
        if not os.access("/usr/bin/aws", os.X_OK):
            raise Missing("/usr/bin/aws is not here: package awscli")
        self._url = url

    def invoke(self, ask):
        with tempfile.TemporaryDirectory() as folder:
            sent, got = os.path.join(folder, "sent"), os.path.join(folder, "got")
            with open(sent, "wb") as file:
                file.write(ask.payload)
            options = {"--function-name": ask.name, "--invocation-type": ask.kind,
                       "--log-type": ask.log, "--client-context": ask.context,
                       "--qualifier": ask.qualifier, "--payload": f"fileb://{sent}"}
            command = ["/usr/bin/aws", "lambda", "invoke", "--endpoint-url", self._url,
                       "--output", "json", "--cli-read-timeout", "0"]
            for name, value in options.items():
                if value is not None:
                    command += [name, value]
            retries = {"AWS_MAX_ATTEMPTS": str(ask.attempts), "AWS_RETRY_MODE": "standard"}
            done = subprocess.run([*command, got], capture_output=True, check=False, text=True,
                                  env=ENVIRONMENT | retries | {"HOME": folder})
            if done.returncode != 0:
                return self._error(done)
            said = json.loads(done.stdout)
            with open(got, "rb") as file:
                payload = file.read()
        return Seen(status=said["StatusCode"], payload=payload,
                    function_error=said.get("FunctionError"), log=said.get("LogResult"),
                    version=said.get("ExecutedVersion"))

    @staticmethod
    def _error(done):
        told = re.fullmatch(r"An error occurred \((\w+)\) when calling the Invoke operation"
                            r"(?: \(reached max retries: \d+\))?: (.*)", done.stderr.strip(),
                            re.DOTALL)
        if told is None:
            raise AssertionError(f"aws: {done.returncode}: {done.stderr}")
        return Seen(error=told[1], message=told[2])


class Boto3(Caller):
    def __init__(self, url):
        try:
            # pylint: disable=import-outside-toplevel
            import boto3
            import botocore.config
            import botocore.exceptions
        except ImportError as error:
            raise Missing(f"{error}: package python3-boto3") from error
        os.environ.update(ENVIRONMENT)
        self._url, self._boto3, self._core = url, boto3, botocore

    def invoke(self, ask):
        retries = {"total_max_attempts": ask.attempts, "mode": "standard"}
        client = self._boto3.client("lambda", endpoint_url=self._url,
                                    config=self._core.config.Config(retries=retries,
                                                                    read_timeout=None))
        words = {"InvocationType": ask.kind, "LogType": ask.log, "ClientContext": ask.context,
                 "Qualifier": ask.qualifier}
        words = {name: value for name, value in words.items() if value is not None}
        try:
            said = client.invoke(FunctionName=ask.name, Payload=ask.payload, **words)
        except self._core.exceptions.ClientError as error:
            # Its own class for each error that the API's model has, with that model's members.
            known = getattr(client.exceptions, error.response["Error"]["Code"])
            assert isinstance(error, known), error
            members = {name.lower() for name in error.response}
            assert {"type", "message"} <= members, error.response
            return self._seen(error.response, error=error.response["Error"]["Code"],
                              message=error.response["Error"]["Message"])
        return self._seen(said, payload=said["Payload"].read(),
                          function_error=said.get("FunctionError"), log=said.get("LogResult"),
                          version=said.get("ExecutedVersion"))

    @staticmethod
    def _seen(response, **words):
        metadata = response["ResponseMetadata"]
        return Seen(status=metadata["HTTPStatusCode"], request_id=metadata.get("RequestId"), **words)


class Node(Caller):
    """@aws-sdk/client-lambda; caller.mjs speaks with it."""

    def __init__(self, url):
        folder = os.environ.get("FNRUN_NODE_PACKAGES", "")
        node = shutil.which("node")
        if node is None:
            raise Missing("node is not installed: package nodejs")
        if not os.path.isdir(os.path.join(folder, "node_modules", "@aws-sdk", "client-lambda")):
            raise Missing("FNRUN_NODE_PACKAGES names no folder with node_modules/@aws-sdk/client-"
                          "lambda; tools/setup/node_packages tests/e2e/callers DIR makes one")
        major = int(subprocess.run([node, "--version"], capture_output=True, text=True,
                                   check=True).stdout.strip().lstrip("v").split(".")[0])
        if major < 20:
            raise Missing(f"node is of version {major}, and @aws-sdk/client-lambda wants 20")
        self._command = [node, os.path.join(os.path.dirname(__file__), "caller.mjs"), folder, url]

    def invoke(self, ask):
        words = dataclasses.asdict(ask)
        words["payload"] = ask.payload.decode()
        done = subprocess.run(self._command, input=json.dumps(words), capture_output=True,
                              text=True, check=False, env=ENVIRONMENT)
        if done.returncode != 0:
            raise AssertionError(f"node: {done.returncode}: {done.stderr}")
        said = json.loads(done.stdout)
        payload = said.pop("payload", None)
        return Seen(payload=None if payload is None else payload.encode(), **said)

