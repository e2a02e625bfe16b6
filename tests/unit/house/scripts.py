#!/usr/bin/env python3
"""The scripts of tools/ do what they say: what is installed, what closes a check, what help tells.

usage: scripts.py SOURCE_TREE
"""

import os
import subprocess
import sys
import tempfile
import unittest

SOURCE = os.path.abspath(sys.argv.pop(1))

JUNIT = """<?xml version="1.0" encoding="UTF-8"?>
<testsuite>
  <testcase name="Fine" status="run"><system-out>x.cc:1: Skipped</system-out></testcase>
  <testcase name="Limits.Memory" status="notrun"><skipped message="m"/>
    <system-out>[ RUN      ] Limits.Memory
/x/limits.cc:12: Skipped
no memory controller,
  says /proc/cgroups

[  SKIPPED ] Limits.Memory (0 ms)
</system-out></testcase>
  <testcase name="house.format" status="notrun"><skipped message="SKIP_RETURN_CODE=77"/>
    <system-out>clang-format is not installed
</system-out></testcase>
  <testcase name="Silent" status="notrun"><skipped message="m"/></testcase>
</testsuite>
"""
NESTED = "100% tests passed, 0 tests failed out of 1\nof another ctest\n"
SUMMARY = "75% tests passed, 1 tests failed out of 4\n\nThe following tests FAILED:\n\t  1 - x\n"


class ScriptsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def run_script(self, name, *arguments, **options):
        return subprocess.run([os.path.join(SOURCE, "tools", name), *arguments],
                              capture_output=True, text=True, check=False, **options)

    def file(self, name, text, mode=0o644):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def test_help_is_help_and_a_wrong_word_is_an_error(self):
        for name in ("quickstart", "check", "setup/packages"):
            told = self.run_script(name, "--help", cwd="/")
            self.assertEqual((told.returncode, told.stderr), (0, ""))
            self.assertIn(f"usage: tools/{name}", told.stdout)
        self.assertEqual(self.run_script("quickstart", "fast").returncode, 2)
        self.assertEqual(self.run_script("setup/packages", "everything").returncode, 2)

    def test_the_summary_comes_last_and_the_skips_before_it(self):
        verdict = os.path.join(self.folder, "verdict")
        told = self.run_script("setup/ctest_report.py", self.file("junit.xml", JUNIT), verdict,
                               input="Start 1\n" + NESTED + "2/4 Test\n" + SUMMARY)
        self.assertEqual(told.returncode, 0, told.stderr)
        self.assertTrue(told.stdout.startswith("Start 1\n" + NESTED + "2/4 Test\nSkipped, and why:"))
        self.assertTrue(told.stdout.endswith("\n\n" + SUMMARY))
        self.assertIn("1 x no memory controller, says /proc/cgroups\n      Limits.Memory", told.stdout)
        self.assertIn("1 x clang-format is not installed\n      house.format", told.stdout)
        self.assertIn("1 x it does not say\n      Silent", told.stdout)
        self.assertNotIn("Fine", told.stdout)
        with open(verdict, encoding="utf-8") as file:
            self.assertEqual(file.read(), SUMMARY.split("\n")[0] + ", 3 skipped\n")

    def test_without_a_summary_nothing_is_lost(self):
        for output in ("", "No tests were found!!!\n", "cut in the mid"):
            told = self.run_script("setup/ctest_report.py", "/nonexistent", input=output)
            self.assertEqual((told.returncode, told.stdout), (0, output))

    def test_only_the_missing_packages_are_installed(self):
        calls = os.path.join(self.folder, "calls")
        self.file("dpkg-query", '#!/bin/sh\ncase $* in *" jq"|*" git") exit 1;; esac\n'
                                'echo "install ok installed"\n', 0o755)
        self.file("apt-get", f'#!/bin/sh\necho "$*" >>"{calls}"\n', 0o755)
        self.file("sudo", "#!/bin/sh\nexit 1\n", 0o755)
        path = os.environ | {"PATH": f"{self.folder}:{os.environ['PATH']}"}
        asked = self.run_script("setup/packages", "--missing", env=path)
        self.assertEqual(asked.stdout.split(), ["git", "jq"])
        none = self.run_script("setup/packages", "build", env=path)
        self.assertEqual(none.returncode, 0)
        self.assertIn("packages are installed", none.stdout)
        self.assertFalse(os.path.exists(calls))

        told = self.run_script("setup/packages", env=path, stdin=subprocess.DEVNULL)
        if os.geteuid() == 0:
            self.assertEqual(told.returncode, 0, told.stderr)
            with open(calls, encoding="utf-8") as file:
                update, install = file.read().splitlines()
            self.assertTrue(update.endswith(" update"))
            self.assertTrue(install.endswith("install -y --no-install-recommends git jq"))
        else:
            self.assertEqual(told.returncode, 1)
            self.assertIn("apt-get install -y --no-install-recommends git jq", told.stderr)

    def test_a_build_root_that_cannot_be_written_is_named(self):
        blocked = os.path.join(self.file("file", ""), "root")  # Below a file: not even root can.
        told = self.run_script("check", "-N", env=os.environ | {"FNRUN_BUILD_ROOT": blocked})
        self.assertEqual(told.returncode, 1)
        self.assertIn(blocked, told.stderr)


if __name__ == "__main__":
    unittest.main()
