#!/usr/bin/env python3
"""Closes test runs with a table of where tests ran and which were skipped, and ctest's summary.

usage: ctest … --output-junit JUNIT | ctest_report.py JUNIT [VERDICT]
       ctest … | ctest_report.py --hold
       ctest_report.py --close VERDICT [--run NAME STATUS JUNIT]… [--not-run NAME WHY]…

ctest names the skipped tests but not the reason, which is in the test's own output: the JUnit file
has it. The summary stays the last thing on the terminal. VERDICT gets its first line and the number
of skips.

The first form does that for one run. With --hold the output only loses its summary; --close then
makes one for all runs of the same tests in different places: a test that was skipped in one but ran
in another has run, one that failed in any has failed.
"""

import argparse
import collections
import re
import sys
import xml.etree.ElementTree

SUMMARY = re.compile(rb"^\d+% tests passed, \d+ tests failed out of \d+")

# A test in a JUnit file: how it ended (passed, failed, skipped), and why it was skipped.
Case = collections.namedtuple("Case", "ended reason")


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


def read(junit):
    """Name -> Case; and what kept the file from being read, or None."""
    cases = {}
    try:
        tree = xml.etree.ElementTree.parse(junit)
    except (OSError, xml.etree.ElementTree.ParseError) as error:
        return {}, str(error)
    for case in tree.iter("testcase"):
        ended, reason = "passed", None
        if case.find("skipped") is not None:
            ended, reason = "skipped", reason_of(case.findtext("system-out") or "")
        elif case.get("status") == "disabled":
            ended, reason = "skipped", "disabled"
        elif case.get("status") != "run":
            ended = "failed"
        cases[case.get("name")] = Case(ended, reason)
    return cases, None


def skips_of(cases):
    """Reason -> names of the tests skipped for it."""
    found = collections.defaultdict(list)
    for name, case in cases.items():
        if case.ended == "skipped":
            found[case.reason].append(name)
    return found


def print_skips(found):
    if not found:
        return
    print("Skipped, and why:")
    for reason, names in sorted(found.items()):
        print(f"  {len(names)} x {reason}")
        for name in names:
            print(f"      {name}")
    print(flush=True)


def pass_on():
    """Copies stdin to stdout but for ctest's summary, which it returns."""
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
    return held


def write_verdict(path, line, skipped):
    if path:
        with open(path, "w", encoding="utf-8") as file:
            file.write(f"{line}{f', {skipped} skipped' if skipped else ''}\n")


def report(junit, verdict):
    """The first form: one run."""
    held = pass_on()
    found = {}
    if held:
        cases, problem = read(junit)
        found = skips_of(cases)
        if problem:
            found[f"unknown: no JUnit file to read the reasons from ({problem})"] = ["?"]
    print_skips(found)
    sys.stdout.buffer.writelines(held)
    sys.stdout.buffer.flush()
    line = held[0].decode(errors="replace").strip() if held else "no test ran"
    write_verdict(verdict, line, sum(len(names) for names in found.values()))


def merge(runs):
    """What became of each test over all runs; and name -> places where it failed."""
    merged, failed = {}, collections.defaultdict(list)
    for place, cases in runs:
        for name, case in cases.items():
            if case.ended == "failed":
                failed[name].append(place)
            # The later run was made because the earlier could not: its reason is the nearer one.
            if name not in merged or merged[name].ended == "skipped" or case.ended == "failed":
                merged[name] = case
    return merged, failed


def close(verdict, runs, not_run):
    """The last form: all runs."""
    rows, read_runs, broken = [], [], []
    width = max([len(run[0]) for run in runs + not_run], default=0)
    for place, status, junit in runs:
        cases, problem = read(junit)
        count = collections.Counter(case.ended for case in cases.values())
        said = ", ".join(f"{count[how]} {how}" for how in ("passed", "failed", "skipped"))
        if problem or (status != "0" and not count["failed"]):
            said += f"; it ended with status {status}" + (f" ({problem})" if problem else "")
            broken.append(f"{place}: it ended with status {status}, and its tests did not")
        rows.append(f"  {place:<{width}}  {said}")
        read_runs.append((place, cases))
    rows += [f"  {place:<{width}}  not run: {why}" for place, why in not_run]
    print("\nWhere the tests ran:")
    print("\n".join(rows) + "\n")

    merged, failed = merge(read_runs)
    found = skips_of(merged)
    print_skips(found)
    # In ctest's words, for who looks for them; rounded down, as ctest does not say 100% of a failure.
    share = 100 * (len(merged) - len(failed)) // len(merged) if merged else 0
    line = f"{share}% tests passed, {len(failed)} tests failed out of {len(merged)}"
    if broken:
        line += f"; {len(broken)} of {len(runs)} runs did not come to its end"
    print(line)
    if failed or broken:
        print("\nThe following tests FAILED:")
        for name, places in failed.items():
            print(f"\t{name} ({', '.join(places)})")
        for what in broken:
            print(f"\t{what}")
    write_verdict(verdict, line, sum(len(names) for names in found.values()))


def main():
    if sys.argv[1:] == ["--hold"]:
        pass_on()
    elif sys.argv[1:2] == ["--close"]:
        parser = argparse.ArgumentParser()
        parser.add_argument("--close")
        parser.add_argument("--run", nargs=3, action="append", default=[])
        parser.add_argument("--not-run", nargs=2, action="append", default=[])
        arguments = parser.parse_args()
        close(arguments.close, arguments.run, arguments.not_run)
    else:
        report(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None)


main()
