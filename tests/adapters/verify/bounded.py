"""`python -m tests.adapters.verify.bounded FILE…` verifies each bundle in a process of its own, and measures it.

One JSON line per file: exit code, what was written to stderr, seconds of processor time, megabytes at the peak.
"""

import contextlib
import io
import json
import os
import resource
import sys
from pathlib import Path

import rich.box
import rich.table  # noqa: F401

import api.verify.database  # noqa: F401 (imported once, before the processes are forked)
from api.cli import run

ADDRESS_BYTES_MAX = 4 * 2**30
CPU_SECONDS_MAX = 120


def verified(path: str) -> tuple[int, str]:
    """Verify as the command does; its exit code, and its error or traceback."""
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES_MAX, ADDRESS_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS_MAX, CPU_SECONDS_MAX))
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(["verify", path])
    return code, err.getvalue()


def measured(path: str) -> dict[str, object]:
    """Verify in a forked process."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        try:
            answer = verified(path)
        except BaseException as error:  # noqa: BLE001 (shown to the test)
            answer = -1, f"traceback: {error!r}"
        os.write(writing, json.dumps(answer).encode()[:60_000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    _, status, used = os.wait4(child, 0)
    code, err = json.loads(text) if text else (-1, f"ended with {status}")
    return {
        "name": Path(path).stem, "bytes": Path(path).stat().st_size, "code": code, "err": err,
        "seconds": used.ru_utime + used.ru_stime, "megabytes": used.ru_maxrss / 1024,
    }  # fmt: skip


for each in sys.argv[1:]:
    sys.stdout.write(json.dumps(measured(each)) + "\n")
    sys.stdout.flush()
