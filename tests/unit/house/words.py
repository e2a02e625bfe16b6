#!/usr/bin/env python3
"""Words that may not be in a tracked file: sleeps in tests, security to-dos, somebody's folders.

A line that has to say one of them says why: `house-allow: <reason>`.
"""

import re

import tree

ALLOWED = re.compile(r"house-allow:\s*\w+")
# A test that sleeps is slow when it passes and wrong when the machine is busy. Handlers may sleep:
# that is what they are there to do.
SLEEPS = {
    (".h", ".cc", ".c"):
        re.compile(r"\b(sleep_for|sleep_until|usleep|nanosleep|clock_nanosleep|sleep)\s*\("),
    (".py",): re.compile(r"\btime\.sleep\s*\("),
    (".sh", ".bash", ""): re.compile(r"(^|[;&|]|\bdo\b|\bthen\b)\s*sleep\s+[0-9.$\"]"),
}
MAY_SLEEP = ("tests/handlers/", "tests/unit/house/")  # The latter only says the words.
SECURITY = re.compile(r"TODO\(security\)")
FOLDERS = re.compile(r"(?<![\w.})/*])/(work|home)/")


def ending(name):
    base = name.split("/")[-1]
    return "." + base.rsplit(".", 1)[1] if "." in base.lstrip(".") else ""


def code(line, name):
    """The line without its comment."""
    return re.sub(r"//.*" if name.endswith((".h", ".cc", ".c")) else r"(^|\s)#.*", "", line)


def check(files):
    complaints = []
    for name in files.paths:
        text = files.text(name)
        if text is None:
            continue
        in_tests = name.startswith("tests/") and not name.startswith(MAY_SLEEP)
        sleeps = next((rule for ends, rule in SLEEPS.items() if ending(name) in ends), None)
        for number, line in enumerate(text.split("\n"), 1):
            if ALLOWED.search(line):
                continue
            where = f"{name}:{number}"
            if in_tests and sleeps and sleeps.search(code(line, name)):
                complaints.append(f"{where}: a test waits for an event (pidfd, eventfd, pipe) or "
                                  "moves a fake clock; it does not sleep")
            if SECURITY.search(line) and not name.startswith("tests/unit/house/"):
                complaints.append(f"{where}: a security to-do may not be committed: do it, or "
                                  "write down the limit where users read it")
            if FOLDERS.search(line):
                complaints.append(f"{where}: names a folder of one machine: {line.strip()[:80]}")
    return complaints


if __name__ == "__main__":
    tree.run(check)
