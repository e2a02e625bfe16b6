"""fnrun-supervise as a service for one test: started, its log followed, drained at the end.

Nothing here waits for a time to pass: each wait is for a record of the log, and ends, as a failure,
when the service does. Whatever hangs is ended by ctest's own limit. One thread reads the log; the
others wait.
"""

import json
import os
import signal
import subprocess
import tempfile
import threading


class Service:
    """A context: inside of it the service listens at `url`."""

    def __init__(self, bin_dir, *options):
        self._command = [os.path.join(bin_dir, "fnrun-supervise"), "--listen", "127.0.0.1:0",
                         "--name", "callee", "--log", "json", *options, "--",
                         os.path.join(bin_dir, "handlers", "callee")]
        self._records = []
        self._changed = threading.Condition()
        self._ended = False
        self._lines = tempfile.TemporaryFile("w+", encoding="utf-8")

    def __enter__(self):
        self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                         text=True, errors="replace")
        self._reader = threading.Thread(target=self._follow)
        self._reader.start()
        said = self.wait_for(lambda record: record["message"].startswith("listening on "))
        self.url = said["message"].split(" ")[-1]
        return self

    def __exit__(self, kind, *_):
        # After a failure calls may be held: those are not waited for.
        self._process.send_signal(signal.SIGTERM if kind is None else signal.SIGKILL)
        status = self._process.wait()
        self._reader.join()
        if kind is not None or status != 0:
            self._lines.seek(0)
            print("the service's log:\n" + self._lines.read())
        if kind is None and status != 0:
            raise AssertionError(f"the service left with status {status}")

    def _follow(self):
        for line in self._process.stderr:
            self._lines.write(line)
            try:
                record = json.loads(line)
            except ValueError:  # What it says before it is a service.
                record = {"message": line.rstrip("\n")}
            with self._changed:
                self._records.append(record)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, wanted, since=0):
        """The first record from number `since` on that is wanted."""
        with self._changed:
            while True:
                for record in self._records[since:]:
                    if wanted(record):
                        return record
                since = len(self._records)
                if self._ended:
                    raise AssertionError("the service ended, and never logged what was waited for: "
                                         f"{self._records[-5:]}")
                self._changed.wait()

    def wait_for_handler(self, line, since=0):
        return self.wait_for(lambda record: record.get("kind") == "handler_line"
                             and record["message"] == line, since)

    def wait_for_outcome(self, outcome, since=0):
        return self.wait_for(lambda record: record.get("outcome") == outcome, since)

    def mark(self):
        """How many records there are: where to look on from."""
        with self._changed:
            return len(self._records)
