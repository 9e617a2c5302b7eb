"""A follower in a process of its own, to be killed: `python -m tests.projections.follower URL`. One event a batch."""

import sys
import threading

from adapters.store.database import Role
from adapters.store.engines import engine
from adapters.store.log import PostgresLog
from projections.runner import Runner

if __name__ == "__main__":
    url = sys.argv[1]
    Runner(PostgresLog(url, Role.PROJECTOR), engine(url, Role.PROJECTOR), batch_events_max=1).follow(threading.Event())
