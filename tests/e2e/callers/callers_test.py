#!/usr/bin/python3
"""The callers of Lambda's Invoke API against the service: each is a test of its own.

usage: callers_test.py curl|awscli|boto3|node|rie BIN_DIR

`rie` is the emulator's answers (--rie-compat), which curl asks for. Exit code 77: the caller is not
here, or no sandbox can be made (FNRUN_REQUIRE=callers,userns: they must).
"""

import ctypes
import os
import sys
import unittest

import callers
import cases
import raw

CASES = [cases.Roomy, cases.Small, cases.Hasty, cases.Full]
# By the name of the test: who calls, and what is tried.
TESTS = {
    "curl": (callers.Curl, [*CASES, raw.OnTheWire]),
    "awscli": (callers.AwsCli, CASES),
    "boto3": (callers.Boto3, CASES),
    "node": (callers.Node, CASES),
    "rie": (callers.Curl, [raw.Emulator, raw.HastyEmulator]),
}


def why_no_sandbox():
    """"": there can be one."""
    child = os.fork()
    if child == 0:
        libc = ctypes.CDLL(None, use_errno=True)
        os._exit(ctypes.get_errno() if libc.unshare(0x10000000) != 0 else 0)  # CLONE_NEWUSER
    error = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return f"this host makes no user namespace: {os.strerror(error)}" if error else ""


def skip_or_fail(power, why):
    print(why)
    sys.exit(1 if power in os.environ.get("FNRUN_REQUIRE", "") else 77)


def main():
    name, cases.Case.bin_dir = sys.argv[1:]
    cases.Case.caller, chosen = TESTS[name]
    try:
        cases.Case.caller("")
    except callers.Missing as missing:
        skip_or_fail("callers", str(missing))
    if why := why_no_sandbox():
        skip_or_fail("userns", why)
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    suite = unittest.TestSuite(load(case) for case in chosen)
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    sys.exit(0 if result.wasSuccessful() else 1)


if __name__ == "__main__":
    main()
