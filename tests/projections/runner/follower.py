"""A follower in a process of its own, to be killed: `python -m tests.projections.runner.follower URL [quick]`.

One event a batch. A `quick` standby waits for the heart of another one only for a moment.
"""

import sys
import threading

from adapters.log.postgres import PostgresLog
from adapters.postgres.connections import Role
from adapters.postgres.engine import engine
from projections.runner import lease
from projections.runner.runner import Runner

if __name__ == "__main__":
    url = sys.argv[1]
    if "quick" in sys.argv:
        lease.BEAT_SECONDS, lease.TRY_SECONDS, lease.MISSED_BEATS_MAX = 0.1, 0.1, 20
    Runner(PostgresLog(url, Role.PROJECTOR), engine(url, Role.PROJECTOR), batch_events_max=1).follow(threading.Event())
