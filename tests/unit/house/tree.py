"""The files of the project, for the checks of this folder."""

import os
import re
import shutil
import subprocess
import sys


class Tree:
    """A source tree: paths relative to its root, and what is in them."""

    def __init__(self, root):
        self.root = os.path.abspath(root)
        self.paths = sorted(self._tracked())

    def _tracked(self):
        """What git tracks; in a tree without git (a release archive) all files but builds."""
        # safe.directory: root may check somebody's tree, and a user one that root cloned.
        git = ["git", "-c", "safe.directory=*", "-C", self.root]
        if os.path.exists(os.path.join(self.root, ".git")) and shutil.which("git"):
            listed = subprocess.run(git + ["ls-files", "-z"], check=True, capture_output=True,
                                    text=True)
            names = [name for name in listed.stdout.split("\0") if name]
        else:
            names = []
            for folder, folders, files in os.walk(self.root):
                folders[:] = [name for name in folders if not self._is_build(folder, name)]
                names += [os.path.relpath(os.path.join(folder, name), self.root) for name in files]
        # Tracked, but deleted and not committed yet: not ours to judge. Nor are symbolic links.
        return [name for name in names
                if os.path.isfile(self.path(name)) and not os.path.islink(self.path(name))]

    def _is_build(self, folder, name):
        return ((folder == self.root and name in ("build", ".cache", ".git"))
                or os.path.exists(os.path.join(folder, name, "CMakeCache.txt")))

    def path(self, name):
        return os.path.join(self.root, name)

    def exists(self, name):
        return os.path.exists(self.path(name))

    def text(self, name):
        """The file as text; None if it is not text."""
        with open(self.path(name), "rb") as file:
            raw = file.read()
        if b"\0" in raw:
            return None
        return raw.decode("utf-8", errors="replace")

    def lines(self, name):
        return (self.text(name) or "").split("\n")

    def named(self, *endings):
        return [name for name in self.paths if name.endswith(endings)]

    def shell_scripts(self):
        """By their first line, or by name."""
        def is_one(name):
            first = self.lines(name)[0]
            return first.startswith("#!") and re.search(r"\b(ba|da)?sh\b", first)

        return [name for name in self.paths
                if name.endswith((".sh", ".bash"))
                or "." not in os.path.basename(name) and is_one(name)]


class Skip(Exception):
    """What the check needs is not on this machine; says what."""


def run(check):
    """The main program of a check: a function of a Tree that returns complaints."""
    if len(sys.argv) != 2:
        sys.exit(f"usage: {os.path.basename(sys.argv[0])} SOURCE_TREE")
    try:
        complaints = check(Tree(sys.argv[1]))
    except Skip as reason:
        print(reason)
        sys.exit(77)  # SKIP_RETURN_CODE of the test.
    for complaint in complaints:
        print(complaint)
    if complaints:
        sys.exit(f"{len(complaints)} complaint(s)")
