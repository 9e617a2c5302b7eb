"""How a benchmark says its result: one JSON object a line, with the peer measured in the same run."""

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
    told = {
        "name": name,
        "value": round(value, 3),
        "unit": unit,
        "peer": peer,
        "peer_value": round(peer_value, 3) if peer_value is not None else None,
        "ratio": ratio,
        "note": note,
    }
    print(json.dumps(told), flush=True)


def seconds(work: Callable[[], object], *, rounds: int = 5) -> float:
    """The fastest of several rounds: what the work takes when nothing else gets in its way."""
    best = float("inf")
    for _ in range(rounds):
        start = perf_counter()
        work()
        best = min(best, perf_counter() - start)
    return best


def largest_mb() -> float:
    """The most memory that this process, or one that it has started and seen end, has held at once.

    What `getrusage` says of a process itself counts whoever started it, too.
    """
    status = Path("/proc/self/status").read_text()
    own = int(status.partition("VmHWM:")[2].split()[0])
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) / 1024
