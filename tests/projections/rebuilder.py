"""Rebuilds in a process of its own, to be killed: `python -m tests.projections.rebuilder URL`."""

import sys

from adapters.store.database import Role
from adapters.store.engines import engine
from adapters.store.log import PostgresLog
from projections import building
from projections.runner import Runner

if __name__ == "__main__":
    url = sys.argv[1]
    building.WINDOW_EVENTS = 20
    runner = Runner(PostgresLog(url, Role.PROJECTOR), engine(url, Role.PROJECTOR))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        runner.rebuild()
