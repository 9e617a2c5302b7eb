"""Rebuilds in a process of its own, to be killed: `python -m tests.projections.runner.rebuilder URL`."""

import sys

from adapters.log.postgres import PostgresLog
from adapters.postgres.connections import Role
from adapters.postgres.engine import engine
from projections.runner import build
from projections.runner.runner import Runner

if __name__ == "__main__":
    url = sys.argv[1]
    build.WINDOW_EVENTS = 20
    runner = Runner(PostgresLog(url, Role.PROJECTOR), engine(url, Role.PROJECTOR))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        runner.rebuild()
