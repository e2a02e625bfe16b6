#!/usr/bin/env python3
"""The checks of this folder can fail: each is given a bad tree, and the same tree mended."""

import os
import subprocess
import sys
import tempfile
import unittest

import docs
import format as layout
import layers
import shell
import size
import tree
import words

PACKAGES = "[build]\ncmake  # builds\n[test]\njq  # reads\n[full]\nclang  # fuzzes\n[files]\nprofiles  # are read\n"


class HouseTest(unittest.TestCase):
    def tree(self, files):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        for name, text in files.items():
            path = os.path.join(folder.name, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        return tree.Tree(folder.name)

    def complains(self, check, files, about):
        complaints = check(self.tree(files))
        self.assertEqual(len(complaints), 1, complaints)
        self.assertIn(about, complaints[0])

    def content(self, check, files):
        self.assertEqual(check(self.tree(files)), [])

    def test_an_include_that_goes_upwards(self):
        for lower, upper in [("policies", "isolation"), ("policies", "protocol"),
                             ("protocol", "policies"), ("isolation", "supervisor"),
                             ("isolation", "protocol"), ("supervisor", "tools")]:
            self.complains(layers.check, {f"{lower}/a.cc": f'#include "{upper}/b.h"\n'},
                           f"{lower}/ may not include {upper}/")
            self.complains(layers.check, {f"{lower}/a.cc": f"#  include <{upper}/b.h>\n"}, "a.cc:1")
            self.content(layers.check, {f"{upper}/a.cc": f'#include "{upper}/b.h"\n'})
        self.complains(layers.check, {"policies/a.cc": '#include "../isolation/b.h"\n'},
                       "from the root")
        for upper, lower in [("tools", "supervisor"), ("supervisor", "protocol"),
                             ("isolation", "policies")]:
            self.content(layers.check, {f"{upper}/a.cc": f'#include "{lower}/b.h"\n'})

    def test_a_libc_header_in_the_child(self):
        for header in ("<unistd.h>", "<string>", "<sys/prctl.h>", '"isolation/plan.h"'):
            self.complains(layers.check, {"isolation/child/a.cc": f"#include {header}\n"},
                           "isolation/child/")
        for header in ("<linux/seccomp.h>", "<asm/unistd.h>", "<cstdint>",
                       '"isolation/child/plan.h"'):
            self.content(layers.check, {"isolation/child/a.cc": f"#include {header}\n"})

    def test_a_public_header_that_shows_a_dependency(self):
        lists = "fnrun_library(policies\n  HEADERS a.h  # public\n  SOURCES a.cc b.h\n  PUBLIC x)\n"
        public = {"policies/CMakeLists.txt": lists}
        for header in ("<nlohmann/json.hpp>", "<CLI/CLI.hpp>"):
            bad = f"#include {header}\n"
            self.complains(layers.check, public | {"policies/a.h": bad}, "public header")
            self.content(layers.check, public | {"policies/a.h": "", "policies/b.h": bad})
        self.complains(layers.check, public | {"policies/a.h": '#include "policies/b.h"\n'},
                       "not installed")
        listed = "set(all a.h)\n" + lists.replace("HEADERS a.h", "HEADERS ${all}")
        self.complains(layers.check, {"protocol/CMakeLists.txt": listed,
                                      "protocol/a.h": "#include <google/protobuf/message.h>\n"},
                       "public header")
        for inner, header in [("isolation", "nlohmann/json.hpp"), ("policies", "seccomp.h")]:
            self.complains(layers.check, {f"{inner}/a.cc": f"#include <{header}>\n"},
                           "know nothing")

    def test_a_file_too_long_or_without_an_opening(self):
        opening = "// What it is.\n"
        self.complains(size.check, {"policies/a.cc": opening + "\n" * size.LINES_MAX}, "601 lines")
        self.content(size.check, {"policies/a.cc": opening + "\n" * (size.LINES_MAX - 1)})
        for text in ("#pragma once\n", "\n// Late comment.\n", "// Copyright 2026 us.\n", "//\n"):
            self.complains(size.check, {"policies/a.h": text}, "a.h:1")
        own = '#include "policies/a.h"\n'
        self.content(size.check, {"policies/a.h": opening, "policies/a.cc": own})
        self.complains(size.check, {"policies/b.cc": own}, "b.cc:1")
        self.complains(size.check, {"policies/a.cc": own}, "a.cc:1")
        self.content(size.check, {"policies/a.h": "/*\n * A C header.\n */\n",
                                  "tools/x": "#!/bin/bash\n# Does it.\n"})
        self.complains(size.check, {"tools/x": "#!/bin/bash\ntrue\n"}, "tools/x:1")

    def test_words(self):
        for line in ("std::this_thread::sleep_for(1s);", "usleep(10);", "::sleep (1);"):
            self.complains(words.check, {"tests/unit/a.cc": line}, "a.cc:1")
            self.content(words.check, {"tests/handlers/a.cc": line, "tests/b.cc": f"// {line}",
                                       "supervisor/a.cc": line})
        self.complains(words.check, {"tests/e2e/a.sh": "true; sleep 1"}, "a.sh:1")
        self.complains(words.check, {"tests/e2e/a.py": "time.sleep(1)"}, "a.py:1")
        self.content(words.check, {"tests/unit/a.cc": "usleep(1);  // house-allow: the attack"})
        self.content(words.check, {"tests/unit/a.cc": 'run("/bin/sleep", "1");'})
        self.complains(words.check, {"isolation/a.cc": "// TODO" + "(security): later"}, "a.cc:1")
        for folder in ("work", "home"):
            self.complains(words.check, {"tools/a": f"cd /{folder}/me"}, "one machine")
            self.content(words.check, {"tools/a": f"cd build/{folder}/me"})

    def test_documents_and_packages(self):
        good = {docs.LIST: PACKAGES}
        self.content(docs.check, good)
        self.complains(docs.check, {docs.LIST: PACKAGES.replace("  # reads", "")}, "expected")
        self.complains(docs.check, {docs.LIST: PACKAGES + "cmake  # again\n"}, "already")
        self.complains(docs.check, {docs.LIST: PACKAGES.replace("[full]\n", "")}, "sections")
        readme = " ".join(docs.README_NAMES)
        self.content(docs.check, good | {"README.md": f"{readme} [x](README.md#top) [y](https://z)"})
        for text, about in [(readme.replace("tools/check", ""), "tools/check"),
                            (readme + " [x](gone.md)", "dead link: gone.md"),
                            (readme + " `tools/gone`", "no such file: tools/gone")]:
            self.complains(docs.check, good | {"README.md": text}, about)

    def test_shell(self):
        def judge(text, mode):
            files = self.tree({"tools/x": text})
            os.chmod(files.path("tools/x"), mode)
            return shell.check(files)

        good = "#!/usr/bin/env bash\n# Says it.\nset -euo pipefail\necho it\n"
        self.assertEqual(judge(good, 0o755), [])
        self.assertIn("chmod +x", "".join(judge(good, 0o644)))
        self.assertIn("set -euo", "".join(judge(good.replace("set -euo pipefail", ":"), 0o755)))
        self.assertIn("syntax error", "".join(judge(good + "if\n", 0o755)))

    def test_format(self):
        try:
            layout.find_clang_format()
        except tree.Skip as reason:
            self.skipTest(str(reason))
        style = {".clang-format": "BasedOnStyle: Google\n"}
        self.assertTrue(layout.check(self.tree(style | {"a.cc": "int  main( ){}\n"})))
        self.content(layout.check, style | {"a.cc": "int main() {}\n"})

    def test_a_check_leaves_with_an_error(self):
        files = self.tree({"policies/a.cc": '#include "isolation/b.h"\n'})
        here = os.path.dirname(os.path.abspath(__file__))
        for root, status in [(files.root, 1), (self.tree({}).root, 0)]:
            ran = subprocess.run([sys.executable, os.path.join(here, "layers.py"), root],
                                 capture_output=True)
            self.assertEqual(ran.returncode, status, ran)

    def test_git_decides_what_is_of_the_project(self):
        files = self.tree({"tracked.cc": "", "untracked.cc": "", "build/x.cc": ""})
        self.assertEqual(files.paths, ["tracked.cc", "untracked.cc"])
        subprocess.run(["git", "init", "-q", files.root], check=True)
        subprocess.run(["git", "-C", files.root, "add", "tracked.cc"], check=True)
        self.assertEqual(tree.Tree(files.root).paths, ["tracked.cc"])


if __name__ == "__main__":
    unittest.main()
