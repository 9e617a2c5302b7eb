"""Where writers are tortured: a durable server, workers that are started again, and what must be true of the log."""

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from random import Random

import psycopg

from adapters.log import snapshot_check
from adapters.log.postgres import PostgresLog
from adapters.postgres import embedded
from adapters.postgres.migrations import migrate
from adapters.verify.derivation import derive
from adapters.writer import leadership
from domain.ledger import Ledger, scan
from domain.order import OrderFilled, OrderSubmitted
from tests import CHECKOUT
from tests.desk import POSITION, T0, open_desk
from tests.scenarios.torture.worker import acked, expected

LEADER = "SELECT term, name FROM ledger.leader"
STANDBYS = "SELECT count(*) FROM pg_stat_activity WHERE query = %s"
SESSIONS = """
SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY random()
"""


class Ground:
    """One server, its workers, and the seed that everything random comes from."""

    def __init__(self, home: Path, directory: Path, seed: int) -> None:
        self.home, self.directory, self.seed = home, directory, seed
        self.random = Random(seed)
        self.url = embedded.start(home)
        self.workers: dict[str, subprocess.Popen[bytes]] = {}
        self.modes: dict[str, str] = {}
        self._prefix = (0, sha256())
        migrate(self.url)
        with PostgresLog(self.url) as log:
            open_desk(log)

    def start(self, name: str, mode: str = "lead") -> None:
        """Start a worker, or start it again."""
        command = [sys.executable, "-m", "tests.scenarios.torture.worker"]
        command += [self.url, str(self.acks(name)), name, str(self.seed)]
        self.modes[name] = mode
        self.workers[name] = subprocess.Popen([*command, mode], cwd=CHECKOUT, env=os.environ | {"PYTHONPATH": "."})

    def acks(self, name: str) -> Path:
        """Where a worker writes down what was acknowledged."""
        return self.directory / f"{name}.acks"

    def kill(self, name: str) -> None:
        """SIGKILL, and start again."""
        self.strike(name)
        self.start(name, self.modes[name])

    def strike(self, name: str) -> None:
        """SIGKILL."""
        self.workers[name].kill()
        self.workers[name].wait()

    def signal(self, name: str, number: signal.Signals) -> None:
        """Stop or continue."""
        self.workers[name].send_signal(number)

    def kill_postmaster(self) -> None:
        """SIGKILL the server's first process; start the server again."""
        pid = int((self.home / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
        os.kill(pid, signal.SIGKILL)
        assert embedded.start(self.home) == self.url

    def cut_connections(self, count: int) -> None:
        """End sessions in the middle of their work."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            for (pid,) in connection.execute(SESSIONS).fetchmany(count):
                connection.execute("SELECT pg_terminate_backend(%s)", [pid])

    def leader(self) -> tuple[int, str]:
        """The term and the name of who leads; term 0 when there never was one."""
        with suppress(psycopg.Error), psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(LEADER).fetchone()
            return (row[0], row[1]) if row else (0, "")
        return 0, ""

    def wait_for_term(self, after: int, seconds_max: float) -> tuple[str, float]:
        """Who leads next, and after how many seconds."""
        began = time.monotonic()
        while (waited := time.monotonic() - began) < seconds_max:
            term, name = self.leader()
            if term > after:
                return name, waited
            time.sleep(0.02)
        raise AssertionError(f"no worker took over within {seconds_max} s (seed {self.seed})")

    def wait_for_standby(self, seconds_max: float = 60) -> None:
        """Until a worker looks whether the leader is still there."""
        deadline = time.monotonic() + seconds_max
        with psycopg.connect(self.url, autocommit=True) as connection:
            while connection.execute(STANDBYS, [leadership.LOOK.replace("%(lock)s", "$1")]).fetchone() == (0,):
                assert time.monotonic() < deadline, f"no worker stands by (seed {self.seed})"
                time.sleep(0.02)

    def wait_for_acks(self, count: int, *names: str, seconds_max: float = 60) -> None:
        """Until these workers have that many acknowledgements between them."""
        deadline = time.monotonic() + seconds_max
        while sum(len(acked(self.acks(name))) for name in names) < count:
            assert time.monotonic() < deadline, f"{names} get no answers (seed {self.seed})"
            ended = [name for name in names if self.workers[name].poll() is not None]
            assert not ended, f"{ended} ended by itself (seed {self.seed})"
            time.sleep(0.02)

    def end(self) -> None:
        """End all workers."""
        for name in self.workers:
            self.strike(name)

    def check(self) -> int:
        """Everything that must be true, now that no worker writes. The number of acknowledged commands."""
        with PostgresLog(self.url) as log:
            self._check_bytes(log)
            logged = list(scan(log))
            submitted = Counter(
                recorded.event.key.cl_ord_id for _, recorded in logged if isinstance(recorded.event, OrderSubmitted)
            )
            fills = [recorded.event for _, recorded in logged if isinstance(recorded.event, OrderFilled)]
            executed = Counter(fill.exec_id for fill in fills)
            times = [recorded.recorded_at for _, recorded in logged]
            assert times == sorted(times), f"recorded_at decreases (seed {self.seed})"
            assert set(submitted.values()) <= {1}, f"an order twice (seed {self.seed})"
            assert set(executed.values()) <= {1}, f"a fill twice (seed {self.seed})"
            total = sum(self._check_worker(name, submitted, executed, logged[-1].seq) for name in self.workers)
            self._check_log(log, fills)
        return total

    def _check_worker(self, name: str, submitted: Counter[str], executed: Counter[str], head: int) -> int:
        done = acked(self.acks(name))
        orders, executions = expected(name, done, self.seed)
        lost = [one for one in orders if one not in submitted] + [one for one in executions if one not in executed]
        assert not lost, f"acknowledged and lost: {lost[:5]} (seed {self.seed})"
        assert max((each.seq for each in done), default=0) <= head
        kept = {f"{name}-{each.client}-{each.n}": each.answer for each in done if each.answer != "-"}
        with psycopg.connect(self.url) as connection:
            rows = connection.execute("SELECT request_key, answer FROM ledger.requests WHERE actor = %s", [name])
            stored = {key: sha256(answer).hexdigest() for key, answer in rows}
        assert {key: stored.get(key) for key in kept} == kept, f"an answer is not as it was given (seed {self.seed})"
        return len(done)

    def _check_bytes(self, log: PostgresLog) -> None:
        """What was on record at the last check is there byte for byte."""
        seq, digest = self._prefix
        shown, after = sha256(), 0
        while rows := log.stored(after=after, upto=seq, limit=5000):
            for row in rows:
                shown.update(row.state)
            after = rows[-1].seq
        assert shown.digest() == digest.digest(), f"the past has changed (seed {self.seed})"
        while rows := log.stored(after=after, limit=5000):
            for row in rows:
                shown.update(row.state)
            after = rows[-1].seq
        self._prefix = (after, shown)

    def _check_log(self, log: PostgresLog, fills: list[OrderFilled]) -> None:
        derived = derive(self.url)
        assert not derived.faults, f"{derived.faults[:1]} (seed {self.seed})"
        refolded = snapshot_check.check(self.url)
        assert not refolded.wrong, f"a snapshot is not what its events fold to: {refolded.wrong[:1]} (seed {self.seed})"
        position = Ledger(log, lambda: T0).state(POSITION)
        held = sum((fill.side.sign * fill.last_qty for fill in fills), Decimal(0))
        assert (position.quantity if position else 0) == held, f"the position is not the sum (seed {self.seed})"
