#!/usr/bin/env python3
"""Who may include whom: no include goes upwards, and public headers show nobody else's types.

    tools > supervisor > isolation > policies        supervisor > protocol

protocol and policies know nothing of each other. isolation/child runs in a copy of a multi-threaded
process, before exec: it may include kernel headers and itself, so that no libc can get in.
"""

import re

import tree

# Room -> the rooms it may include. A folder that is no room (tests) may include everything.
MAY_INCLUDE = {
    "policies": {"policies"},
    "protocol": {"protocol"},
    "isolation": {"isolation", "policies"},
    "supervisor": {"supervisor", "isolation", "protocol", "policies"},
    "tools": {"tools", "supervisor", "isolation", "protocol", "policies"},
}
ROOMS = ("policies", "protocol", "isolation", "supervisor")
# What a room has no business with, in whatever file.
KNOWS_NOTHING_OF = {
    "policies": re.compile(r"google/protobuf/|\.pb\.h$|^seccomp\.h$|^sys/capability\.h$|^linux/"),
    "protocol": re.compile(r"^nlohmann/|^seccomp\.h$|^sys/capability\.h$"),
    "isolation": re.compile(r"google/protobuf/|\.pb\.h$|^nlohmann/"),
    "supervisor": re.compile(r"^seccomp\.h$|^sys/capability\.h$|^CLI/"),
}
# Dependencies that must not show in a header others include.
HIDDEN = re.compile(r"^nlohmann/|google/protobuf/|\.pb\.h$|^seccomp\.h$|^sys/capability\.h$|^CLI/|"
                    r"^prometheus/")
# Declares types and constants only; nothing of it is in libc.
FREESTANDING = {
    "cstddef", "cstdint", "cstdarg", "climits", "limits", "type_traits", "concepts", "compare",
    "bit", "initializer_list", "version", "stddef.h", "stdint.h", "stdarg.h", "stdbool.h", "limits.h",
}
KERNEL = re.compile(r"^(linux|asm|asm-generic)/")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
SOURCES = (".h", ".cc", ".c", ".S", ".inc")


def includes(files, name):
    """(line number, "<" or '"', what) of each include."""
    for number, line in enumerate(files.lines(name), 1):
        found = INCLUDE.match(line)
        if found:
            yield number, found[1], found[2]


def public_headers(files):
    """The HEADERS of each fnrun_library(): what is installed."""
    public = set()
    for room in ROOMS:
        lists = f"{room}/CMakeLists.txt"
        if not files.exists(lists):
            continue
        text = re.sub(r"#.*", "", files.text(lists))
        for variable in re.finditer(r"set\(\s*(\w+)([^)]*)\)", text):
            text = text.replace("${" + variable[1] + "}", variable[2])
        for call in re.finditer(r"fnrun_library\(\s*(\w+)([^)]*)", text):
            words = call[2].split()
            taking = False
            for word in words:
                if word in ("HEADERS", "SOURCES", "PUBLIC", "PRIVATE"):
                    taking = word == "HEADERS"
                elif taking:
                    public.add(f"{room}/{word}")
    return public


def check(files):
    complaints = []
    public = public_headers(files)
    for name in files.named(*SOURCES):
        room = name.split("/")[0]
        if room not in MAY_INCLUDE:
            continue
        in_child = name.startswith("isolation/child/")
        for number, kind, what in includes(files, name):
            where = f"{name}:{number}: <{what}>" if kind == "<" else f'{name}:{number}: "{what}"'
            target = what.split("/")[0]
            if kind == '"' and ".." in what.split("/"):
                complaints.append(f'{where}: say it from the root: "room/file.h"')
            elif target in MAY_INCLUDE and target not in MAY_INCLUDE[room]:
                complaints.append(f"{where}: {room}/ may not include {target}/; it may include "
                                  f"{', '.join(sorted(MAY_INCLUDE[room]))}")
            elif room in KNOWS_NOTHING_OF and KNOWS_NOTHING_OF[room].search(what):
                complaints.append(f"{where}: {room}/ is to know nothing of this")
            elif name in public and HIDDEN.search(what):
                complaints.append(f"{where}: a public header may not show this to who includes it")
            elif name in public and target in ROOMS and what not in public:
                complaints.append(f"{where}: a public header includes one that is not listed under "
                                  "HEADERS, so it is not installed")
            if in_child and not (KERNEL.match(what) or what in FREESTANDING
                                 or (kind == '"' and (what.startswith("isolation/child/")
                                                      or "/" not in what))):
                complaints.append(f"{where}: isolation/child/ may include kernel headers "
                                  "(<linux/…>, <asm/…>), freestanding ones (<cstdint>, …) and "
                                  "isolation/child/")
    return complaints


if __name__ == "__main__":
    tree.run(check)
