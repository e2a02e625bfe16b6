#!/usr/bin/env python3
"""Shell scripts parse, stop at the first error, and please shellcheck where it is installed."""

import os
import shutil
import subprocess

import tree


def check(files):
    complaints = []
    scripts = files.shell_scripts()
    for name in scripts:
        parsed = subprocess.run(["bash", "-n", files.path(name)], capture_output=True, text=True)
        if parsed.returncode != 0:
            complaints.append(f"{name}: {parsed.stderr.strip()}")
        first = files.lines(name)[0]
        if not first.startswith("#!"):
            continue  # To be sourced: the script that does has said so.
        if name.startswith("tests/handlers/"):
            continue  # A handler is what a user would write, good or bad, and a test places it.
        if not os.access(files.path(name), os.X_OK):
            complaints.append(f"{name}: begins with '{first}' but cannot be executed; chmod +x")
        if "bash" in first and "set -euo pipefail" not in files.text(name):
            complaints.append(f"{name}: say `set -euo pipefail`, or errors pass unseen")
    if shutil.which("shellcheck"):
        checked = subprocess.run(["shellcheck", "-x", "-f", "gcc"] + scripts, cwd=files.root,
                                 capture_output=True, text=True)
        complaints += checked.stdout.splitlines()
        if checked.returncode > 1:
            complaints.append(f"shellcheck: {checked.stderr.strip()}")
    else:
        print("shellcheck is not installed: only parsed")
    return complaints


if __name__ == "__main__":
    tree.run(check)
