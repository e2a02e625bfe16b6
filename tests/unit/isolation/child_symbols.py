#!/usr/bin/env python3
"""The code between clone3 and the handler's exec leans on nothing: no libc, no loader, no runtime.

usage: child_symbols.py FNRUN_INIT OBJECT[;OBJECT...]
"""

import os
import subprocess
import sys

INIT_SIZE_MAX = 64 * 1024


def undefined_symbols(file):
    """What `file` would have others provide; the linker's own table is none of it."""
    told = subprocess.run(["nm", "--undefined-only", file], check=True, capture_output=True,
                          text=True).stdout
    names = [line.split()[-1] for line in told.splitlines() if line.strip()]
    return [name for name in names if name != "_GLOBAL_OFFSET_TABLE_"]


def readelf(option, file):
    return subprocess.run(["readelf", "--wide", option, file], check=True, capture_output=True,
                          text=True).stdout


def complaints(init, objects):
    enter = [name for name in objects if "child/enter.cc" in name]
    if len(enter) != 1:
        yield f"one object of child/enter.cc was expected, not {enter}"
        return
    # The control: nm does find what an ordinary object leans on.
    ordinary = next(name for name in objects if name.endswith("launcher.cc.o"))
    if not undefined_symbols(ordinary):
        yield f"{ordinary} has no undefined symbol: nm is not looking"
    for name in undefined_symbols(enter[0]):
        yield f"enter.cc uses {name}: it may run in memory shared with a running supervisor"
    for name in undefined_symbols(init):
        yield f"fnrun_init uses {name}"
    headers = readelf("--program-headers", init)
    for segment in ("INTERP", "DYNAMIC", "TLS"):
        if any(line.split()[:1] == [segment] for line in headers.splitlines()):
            yield f"fnrun_init has a segment {segment}: it is to be static, without libc"
    if "LOAD" not in headers:
        yield "fnrun_init has no LOAD segment: readelf is not looking"
    if any("RWE" in line for line in headers.splitlines()):
        yield "fnrun_init has memory that is writable and executable"
    if "EXEC" not in readelf("--file-header", init):
        yield "fnrun_init is not a program at a fixed address: it would need relocating"
    size = os.path.getsize(init)
    if size >= INIT_SIZE_MAX:
        yield f"fnrun_init has {size} bytes; less than {INIT_SIZE_MAX} was promised"


if __name__ == "__main__":
    found = list(complaints(sys.argv[1], sys.argv[2].split(";")))
    print("\n".join(found) or "nothing undefined, nothing dynamic, small")
    sys.exit(1 if found else 0)
