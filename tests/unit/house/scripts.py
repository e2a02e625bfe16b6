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
        for name in ("tools/quickstart", "tools/check", "tools/setup/packages",
                     "tools/setup/node_packages", "tests/vm/run"):
            told = self.run_script(f"../{name}", "--help", cwd="/")
            self.assertEqual((told.returncode, told.stderr), (0, ""))
            self.assertIn(f"usage: {name}", told.stdout)
        self.assertEqual(self.run_script("quickstart", "fast").returncode, 2)
        self.assertEqual(self.run_script("setup/packages", "everything").returncode, 2)
        self.assertEqual(self.run_script("setup/node_packages", "everything").returncode, 2)
        for wrong in (["--minutes", "soon"], ["--memory", "0"], ["--out"]):
            self.assertEqual(self.run_script("../tests/vm/run", *wrong).returncode, 2, wrong)

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
            for argument in ("/nonexistent", "--hold"):
                told = self.run_script("setup/ctest_report.py", argument, input=output)
                self.assertEqual((told.returncode, told.stdout), (0, output))

    def close(self, *arguments):
        verdict = os.path.join(self.folder, "verdict")
        told = self.run_script("setup/ctest_report.py", "--close", verdict, *arguments)
        self.assertEqual((told.returncode, told.stderr), (0, ""))
        with open(verdict, encoding="utf-8") as file:
            return told.stdout, file.read()

    def test_what_was_skipped_here_and_ran_elsewhere_has_run(self):
        told = self.run_script("setup/ctest_report.py", "--hold", input="1/1\n" + NESTED + SUMMARY)
        self.assertEqual(told.stdout, "1/1\n" + NESTED)

        here = ("--run", "here, 3 s", "0", self.file("here.xml", JUNIT))
        vm = ("--run", "in the VM", "0", self.file("vm.xml", """<testsuite>
  <testcase name="Limits.Memory" status="run"/>
  <testcase name="Silent" status="notrun"><skipped message="m"/>
    <system-out>no disk</system-out></testcase>
</testsuite>"""))
        told, verdict = self.close(*here, *vm, "--not-run", "as a user", "--no-vm was said")
        self.assertIn("  here, 3 s  1 passed, 0 failed, 3 skipped\n"
                      "  in the VM  1 passed, 0 failed, 1 skipped\n"
                      "  as a user  not run: --no-vm was said\n", told)
        self.assertNotIn("Limits.Memory", told)
        self.assertIn("1 x no disk\n      Silent", told)
        self.assertTrue(told.endswith("\n\n100% tests passed, 0 tests failed out of 4\n"))
        self.assertEqual(verdict, "100% tests passed, 0 tests failed out of 4, 2 skipped\n")

    def test_a_failure_anywhere_is_one_and_so_is_a_machine_that_died(self):
        here = ("--run", "here", "0", self.file("here.xml", JUNIT))
        failed = self.file("vm.xml", '<testsuite><testcase name="Fine" status="fail"/></testsuite>')
        for order in ((*here, "--run", "VM", "8", failed), ("--run", "VM", "8", failed, *here)):
            told, _ = self.close(*order)
            self.assertTrue(told.endswith("\n\n75% tests passed, 1 tests failed out of 4\n\n"
                                          "The following tests FAILED:\n\tFine (VM)\n"))
        told, verdict = self.close(*here, "--run", "VM", "125", "/nonexistent")
        self.assertIn("VM    0 passed, 0 failed, 0 skipped; it ended with status 125", told)
        self.assertIn("The following tests FAILED:\n\tVM: it ended with status 125", told)
        self.assertIn("1 of 2 runs", verdict)

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
