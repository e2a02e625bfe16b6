#!/usr/bin/env python3
"""A file is read in one sitting, and opens with what it is."""

import re

import tree

LINES_MAX = 600
SOURCES = (".h", ".cc", ".c", ".S", ".proto", ".py", ".js", ".mjs", ".go", ".java", ".sh", ".cmake",
           "CMakeLists.txt")
OPENED = (".h", ".cc", ".c", ".S", ".py", ".go", ".java", ".sh")  # And scripts without an ending.
# A comment's text, in its first two lines.
OPENING = re.compile(r"^(//+|/\*+|#(?!!|include|pragma|define|if)|\"\"\")\s*(?P<says>.*)")


def opening_of(lines):
    """What the first comment says; "" if the file does not begin with one."""
    if lines and lines[0].startswith("#!"):
        lines = lines[1:]
    found = OPENING.match(lines[0]) if lines else None
    if not found:
        return ""
    rest = lines[1].strip(" */#") if len(lines) > 1 else ""
    return found["says"] if len(found["says"]) > 3 else rest


def is_said_by_header(files, name, lines):
    """x.cc that begins with its own x.h: what it is stands there, and once is enough."""
    header = re.sub(r"\.\w+$", ".h", name)
    said = (f'#include "{header}"', f'#include "{header.split("/")[-1]}"')  # Programs: no folder.
    return lines[0] in said and files.exists(header)


def check(files):
    complaints = []
    scripts = files.shell_scripts()
    for name in sorted(set(files.named(*SOURCES)) | set(scripts)):
        lines = files.lines(name)
        count = len(lines) - (lines[-1] == "")
        if count > LINES_MAX:
            complaints.append(f"{name}: {count} lines, and {LINES_MAX} is the limit: it holds more "
                              "than one noun; give each its own file")
        if not count or not (name in scripts or name.endswith(OPENED)):
            continue
        says = opening_of(lines)
        says_nothing = len(says.split()) < 2 or says.lower().startswith(("copyright", "spdx"))
        if says_nothing and not is_said_by_header(files, name, lines):
            complaints.append(f"{name}:1: open with a comment that says what the file is, "
                              "or with the include of the header that does")
    return complaints


if __name__ == "__main__":
    tree.run(check)
