# SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
"""Runs the test_* functions of a file, each in a lab of its own, and reports in TAP.

    @setup(guests=3, config={"default": {"state": "limit", "rate": "5/s"}})
    def test_something(lab): …

    harness.main()                      # at the end of the file

A test without @setup gets the lab as it comes; one that takes no argument gets none.
"""

import inspect
import os
import signal
import sys
import time
import traceback

import reports
from lab import Lab
from mail import PATIENCE
from netns import isolate

TEST_TIMEOUT = 120
# `make check-long`: tests that repeat something repeat it as often as it takes to be sure.
LONG = bool(os.environ.get("GATE25_LONG"))


class Skip(Exception):
    """Raised with a sentence where a test cannot be run here."""


class Overtime(Exception):
    pass


def setup(**options):
    def mark(test):
        test.lab_options = options
        return test
    return mark


def cases(**rows):
    """A table: the test is run once for each row, as test_name[row], with the row's value."""
    def mark(test):
        test.rows = rows
        return test
    return mark


def _alarm(*_):
    raise Overtime(f"not done within {TEST_TIMEOUT} s")


def _run(test, value):
    arguments = inspect.signature(test).parameters
    extra = {"case": value} if "case" in arguments else {}
    signal.alarm(getattr(test, "timeout", TEST_TIMEOUT) * PATIENCE)
    try:
        if "lab" not in arguments:
            test(**extra)
            return
        with Lab(**getattr(test, "lab_options", {})) as the_lab:
            try:
                test(the_lab, **extra)
                signal.alarm(0)
            except Skip:
                raise
            except BaseException as error:
                tail = the_lab.log().splitlines()[-15:]
                if tail:
                    error.add_note("daemon: " + "\n        ".join(tail))
                raise
    finally:
        signal.alarm(0)


def _listed(module, patterns):
    for name, test in list(vars(module).items()):
        if not name.startswith("test_") or not callable(test):
            continue
        for row, value in getattr(test, "rows", {None: None}).items():
            title = name if row is None else f"{name}[{row}]"
            if not patterns or any(p in title for p in patterns):
                yield title, test, value


def main():
    isolate()
    signal.signal(signal.SIGALRM, _alarm)
    tests = list(_listed(sys.modules["__main__"], sys.argv[1:]))
    print(f"1..{len(tests)}")
    failed = 0
    for number, (title, test, value) in enumerate(tests, 1):
        begin = time.monotonic()
        try:
            _run(test, value)
            reports.check()
            line = f"ok {number} - {title}"
        except Skip as why:
            line = f"ok {number} - {title} # SKIP {why}"
        except BaseException:
            failed += 1
            line = f"not ok {number} - {title}\n# " + \
                "\n# ".join(traceback.format_exc().splitlines())
        print(f"{line}\n# {time.monotonic() - begin:.1f} s", flush=True)
    os._exit(1 if failed else 0)
