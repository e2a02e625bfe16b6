#!/usr/bin/env python3
"""Passes ctest's output on, and puts a table of the skipped tests before its closing summary.

usage: ctest … --output-junit JUNIT | ctest_report.py JUNIT [VERDICT]

ctest names the skipped tests but not the reason, which is in the test's own output: the JUnit file
has it. The summary stays the last thing on the terminal. VERDICT gets its first line and the number
of skips.
"""

import collections
import re
import sys
import xml.etree.ElementTree

SUMMARY = re.compile(rb"^\d+% tests passed, \d+ tests failed out of \d+")


def reason_of(output):
    """What a skipped test says of it: GTEST_SKIP()'s message, or the last line of a script."""
    lines = [line.strip() for line in output.splitlines()]
    for number, line in enumerate(lines):
        if re.search(r":\d+: Skipped$", line):
            said = []
            for follower in lines[number + 1:]:
                if not follower or follower.startswith("["):
                    break
                said.append(follower)
            if said:
                return " ".join(said)
    said = [line for line in lines if line and not line.startswith("[")]
    return said[-1] if said else "it does not say"


def skips(junit):
    """Reason -> names of the tests skipped for it."""
    found = collections.defaultdict(list)
    try:
        tree = xml.etree.ElementTree.parse(junit)
    except (OSError, xml.etree.ElementTree.ParseError) as error:
        return {f"unknown: no JUnit file to read the reasons from ({error})": ["?"]}
    for case in tree.iter("testcase"):
        if case.find("skipped") is not None:
            found[reason_of(case.findtext("system-out") or "")].append(case.get("name"))
        elif case.get("status") == "disabled":
            found["disabled"].append(case.get("name"))
    return found


def main():
    junit, verdict = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None
    out = sys.stdout.buffer
    held = []
    for line in sys.stdin.buffer:
        # A test that itself runs ctest prints such a line too: the last one is ctest's own.
        if SUMMARY.match(line):
            out.writelines(held)
            held = [line]
        elif held:
            held.append(line)
        else:
            out.write(line)
        out.flush()

    found = skips(junit) if held else {}
    if found:
        print("Skipped, and why:")
        for reason, names in sorted(found.items()):
            print(f"  {len(names)} x {reason}")
            for name in names:
                print(f"      {name}")
        print(flush=True)
    out.writelines(held)
    out.flush()
    if verdict:
        first = held[0].decode(errors="replace").strip() if held else "no test ran"
        count = sum(len(names) for names in found.values())
        with open(verdict, "w", encoding="utf-8") as file:
            file.write(f"{first}{f', {count} skipped' if count else ''}\n")


main()
