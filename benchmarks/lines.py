"""Output of benchmark results: one JSON object per line, with the peer measured in the same run."""

import json
import resource
from collections.abc import Callable
from pathlib import Path
from time import perf_counter


def line(
    name: str, value: float, unit: str, *, peer: str | None = None, peer_value: float | None = None, note: str = ""
) -> None:
    """Print one result. `ratio` is value / peer_value."""
    ratio = round(value / peer_value, 3) if peer_value else None
    result = {
        "name": name,
        "value": round(value, 3),
        "unit": unit,
        "peer": peer,
        "peer_value": round(peer_value, 3) if peer_value is not None else None,
        "ratio": ratio,
        "note": note,
    }
    print(json.dumps(result), flush=True)


def seconds(work: Callable[[], object], *, rounds: int = 5) -> float:
    """Return the seconds of the fastest of several rounds, the one least disturbed by other processes."""
    best = float("inf")
    for _ in range(rounds):
        start = perf_counter()
        work()
        best = min(best, perf_counter() - start)
    return best


def largest_mb() -> float:
    """Return the peak resident size in MB of this process, or of a child that has ended.

    For the process itself `getrusage` would include its parent's size from before exec.
    """
    status = Path("/proc/self/status").read_text()
    own = int(status.partition("VmHWM:")[2].split()[0])
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024
