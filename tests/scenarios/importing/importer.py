"""An import in a process of its own, to be killed:
`python -m tests.scenarios.importing.importer URL FILE`. A line a batch."""

import sys
from pathlib import Path

from adapters.log.postgres import PostgresLog
from adapters.writer.writer import Writer
from api.intake.importing.counts import ImportProgress
from tests.scenarios.importing.histories import NOW, imported


def say(progress: ImportProgress) -> None:
    """To the test, which waits for the right moment."""
    sys.stdout.write(f"{progress.recorded + progress.already_known}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    with PostgresLog(sys.argv[1]) as log:
        imported(Writer(log, lambda: NOW), Path(sys.argv[2]), on_progress=say)
