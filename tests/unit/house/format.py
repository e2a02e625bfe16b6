#!/usr/bin/env python3
"""The layout of the C++ sources is clang-format's, in the version that all use: 14."""

import re
import shutil
import subprocess

import tree

VERSION = "14"


def find_clang_format():
    for program in (f"clang-format-{VERSION}", "clang-format"):
        if shutil.which(program):
            said = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
            if re.search(rf"version {VERSION}\.", said):
                return program
    raise tree.Skip(f"clang-format {VERSION} is not installed, and others lay out differently")


def check(files):
    program = find_clang_format()
    sources = files.named(".h", ".cc", ".c")
    if not sources:
        return []
    ran = subprocess.run([program, "--dry-run", "-Werror"] + sources, cwd=files.root,
                         capture_output=True, text=True)
    complaints = [line for line in ran.stderr.splitlines() if "error:" in line]
    if ran.returncode != 0:
        bad = sorted({line.split(":")[0] for line in complaints})
        complaints = complaints[:20] + [f"to mend: {program} -i {' '.join(bad)}"]
    return complaints


if __name__ == "__main__":
    tree.run(check)
