#!/usr/bin/env python3
"""What documents and the package list promise is there: commands, links, one list of packages."""

import os
import re

import tree

LIST = "tools/setup/packages.txt"
README_NAMES = ("tools/quickstart", "tools/check", LIST)
SECTIONS = ["build", "test", "full", "files"]
LINK = re.compile(r"\]\(([^)\s#]+)(#[^)]*)?\)")
# A path of the tree as a document writes it: `tools/check`, `policies/strict.json`.
QUOTED_PATH = re.compile(
    r"`((?:tools|tests|policies|protocol|isolation|supervisor|\.ci)/[\w./-]*[\w/])`")


def package_complaints(files):
    """Each package once, in a known section, with a reason."""
    complaints, seen, sections = [], {}, []
    for number, line in enumerate(files.lines(LIST), 1):
        where = f"{LIST}:{number}"
        if not line.strip() or line.startswith("#"):
            continue
        if line.startswith("["):
            sections.append(line.strip("[] "))
            continue
        found = re.match(r"^([a-z0-9][a-z0-9.+-]+)\s+# (\S.*)$", line)
        if not found:
            complaints.append(f"{where}: expected 'name  # why', got '{line}'")
        elif found[1] in seen:
            complaints.append(f"{where}: {found[1]} is in line {seen[found[1]]} already")
        else:
            seen[found[1]] = number
    if sections != SECTIONS:
        complaints.append(f"{LIST}: the sections are to be {SECTIONS}, not {sections}")
    return complaints


def document_complaints(files, name):
    complaints = []
    for number, line in enumerate(files.lines(name), 1):
        where = f"{name}:{number}"
        for target, _ in LINK.findall(line):
            if "://" in target or target.startswith("mailto:"):
                continue
            if not files.exists(os.path.join(os.path.dirname(name), target)):
                complaints.append(f"{where}: dead link: {target}")
        for target in QUOTED_PATH.findall(line):
            # Documents of a room also name things beside themselves.
            beside = os.path.join(os.path.dirname(name), target)
            if not files.exists(target) and not files.exists(beside):
                complaints.append(f"{where}: no such file: {target}")
    return complaints


def check(files):
    complaints = package_complaints(files)
    if files.exists("README.md"):
        readme = files.text("README.md")
        for wanted in README_NAMES:
            if wanted not in readme:
                complaints.append(f"README.md: does not name {wanted}: newcomers look for it there")
    for name in files.named(".md"):
        complaints += document_complaints(files, name)
    return complaints


if __name__ == "__main__":
    tree.run(check)
