"""`python -m tests.scenarios.mutants COUNT SEED` reads that many mutants, and keeps the wrong ones."""

import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from tests.scenarios.mutants.kinds import KINDS, outcome

SECONDS_MAX = 20


class Hung(BaseException):
    """A mutant took too much processor time."""


def _hung(*_: object) -> None:
    raise Hung


def main(count: int, seed: int) -> int:
    """Read the mutants; return the number of those that were neither accepted nor refused with a sentence."""
    signal.signal(signal.SIGVTALRM, _hung)
    wrong, accepted, read = Counter[str](), Counter[str](), Counter[str]()
    shares = sum(kind.share for kind in KINDS)
    kept = Path(tempfile.gettempdir()) / "daybook-mutants"
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
        path = Path(directory, "mutant")
        for kind in KINDS:
            began = time.process_time()
            for number in range(max(count * kind.share // shares, 1)):
                data = kind.drawn(random.Random(f"{seed}/{kind.name}/{number}"))
                signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS_MAX)
                try:
                    accepted[kind.name] += outcome(kind, path, data)
                except (Exception, Hung):  # noqa: BLE001 (kept and shown)
                    wrong[kind.name] += 1
                    if wrong[kind.name] <= 5:
                        kept.mkdir(exist_ok=True)
                        name = kept / f"{kind.name.replace(' ', '-')}-{seed}-{number}"
                        name.write_bytes(data)
                        sys.stdout.write(f"{name}\n{traceback.format_exc(limit=-4)}\n")
                finally:
                    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
                read[kind.name] += 1
            sys.stdout.write(
                f"{kind.name}: {read[kind.name]:,} read, {accepted[kind.name]:,} accepted, {wrong[kind.name]} wrong, "
                f"{time.process_time() - began:.0f} s\n"
            )
            sys.stdout.flush()
    sys.stdout.write(f"{read.total():,} mutants from seed {seed}: {wrong.total()} wrong\n")
    return wrong.total()


if __name__ == "__main__":
    sys.exit(min(main(int(sys.argv[1]), int(sys.argv[2])), 1))
