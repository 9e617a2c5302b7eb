"""A process that trades and stores snapshots until it is killed:
`python -m tests.adapters.log.snapshotting URL TURN`."""

import sys

from adapters.log import snapshots
from adapters.log.postgres import PostgresLog
from domain.ledger import Ledger, unit_of_work
from tests.desk import T0, fill_of


def main(url: str, turn: int) -> None:
    snapshots.SNAPSHOT_EVENTS = unit_of_work.PAGE_EVENTS = 5
    with PostgresLog(url) as log:
        ledger, n = Ledger(log, lambda: T0), 0
        ledger.report([fill_of(f"{turn}", f"E{turn}")], actor="venue")
        sys.stdout.write("trading\n")
        sys.stdout.flush()
        while True:
            n += 1
            ledger.report([fill_of(f"{turn}-{n}", f"E{turn}-{n}", at=n)], actor="venue")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
