"""A writer under load, to be killed: `python -m tests.scenarios.torture.worker URL ACKS NAME SEED lead|direct|late`.

Every client sends one command after the other and writes down each one that was acknowledged: one line, written at
once. Started again it goes on behind the last line, so a command whose answer was lost is sent a second time. Its clock
steps back an hour now and then; that of a `late` one, which leads as well, is an hour behind for good.
"""

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import NamedTuple

import structlog

from adapters.log import snapshots
from adapters.log.postgres import PostgresLog
from adapters.writer.batch import Keyed
from adapters.writer.writer import Writer
from domain.errors import Busy, StreamConflict, Unavailable
from domain.ledger import Answer, Command, unit_of_work
from domain.order import OrderFilled, OrderKey, SubmitOrder
from tests.desk import fill_of, new_order

CLIENTS = 3
FILLS_OF_A_BATCH = 6
SNAPSHOT_EVENTS, PAGE_EVENTS = 40, 15  # so few that every start reads one


class Acked(NamedTuple):
    """A line of the acknowledgements."""

    client: int
    n: int
    seq: int
    answer: str  # a digest of the answer that is kept, or "-"


def acked(path: Path) -> list[Acked]:
    """What was acknowledged to a worker. A line cut off by a kill was not yet read by any process."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    whole = [line.split() for line in lines if line.endswith("\n")]
    return [Acked(int(client), int(n), int(seq), answer) for client, n, seq, answer in whole]


def command(name: str, client: int, n: int, seed: int) -> tuple[Command, bool]:
    """The n-th command of a client, the same each time it is made; and whether it has a key."""
    random = Random(f"{seed} {name} {client} {n}")
    order_id = f"{name}-{client}-{n}"
    match n % 4:
        case 0:
            return Command(new_order(order_id, qty="0.5"), name, order_id), n % 8 == 0
        case 1:
            side = random.choice(["BUY", "SELL"])
            first = f"{name}-{client}-{n - 1}"
            return Command(
                (fill_of(first, order_id, "0.25", at=random.randint(0, 9), side=side),), name, order_id
            ), True
        case 2:
            unopened = SubmitOrder(OrderKey("unknown", order_id), new_order("x").terms, new_order("x").transact_time)
            return Command(unopened, name, order_id), True
        case _:
            fills = tuple(
                fill_of(
                    f"{order_id}-{k}", f"{order_id}-{k}", str(Decimal(random.randint(1, 99)) / 1000),
                    side=random.choice(["BUY", "SELL"]),
                )
                for k in range(FILLS_OF_A_BATCH)
            )  # fmt: skip
            return Command(fills, name, order_id), False


def expected(name: str, done: list[Acked], seed: int) -> tuple[list[str], list[str]]:
    """The orders and the executions that must be on record."""
    orders, executions = [], []
    for each in done:
        requested = command(name, each.client, each.n, seed)[0].payload
        if isinstance(requested, tuple):
            executions += [report.exec_id for report in requested if isinstance(report, OrderFilled)]
        elif isinstance(requested, SubmitOrder) and requested.key.account_id == "main":
            orders.append(requested.key.cl_ord_id)
    return orders, executions


def stepping_clock(seed: int, late: float = 0.2) -> Callable[[], datetime]:
    """The system's clock, an hour late every now and then, or always."""
    random = Random(seed)

    def now() -> datetime:
        return datetime.now(UTC) - timedelta(hours=random.random() < late)

    return now


class Client:
    """Sends one command after the other until it is killed."""

    def __init__(self, writer: Writer, name: str, number: int, seed: int, acks: int, after: int) -> None:
        self._writer, self._name, self._number, self._seed = writer, name, number, seed
        self._acks, self._n = acks, after

    def run(self) -> None:
        while True:
            requested, is_keyed = command(self._name, self._number, self._n, self._seed)
            try:
                seq, answer = self._sent(requested, is_keyed)
            except (Unavailable, StreamConflict, Busy):
                time.sleep(0.02)
                continue
            os.write(self._acks, f"{self._number} {self._n} {seq} {answer}\n".encode())
            self._n += 1

    def _sent(self, requested: Command, is_keyed: bool) -> tuple[int, str]:
        if not is_keyed or self._writer._group is None:
            answers = self._writer.carry_out(requested)
            return answers[0].seq, "-"
        shown = self._writer.carry_out_once(requested, Keyed(requested.request_id, sha256(b"body").digest(), _reported))
        return int(shown.answer.split()[0]), sha256(shown.answer).hexdigest()


def _reported(answers: list[Answer], _: object) -> bytes:
    return f"{answers[0].seq} {answers!r}".encode()


def main(url: str, acks_path: str, name: str, seed: int, mode: str) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    sys.setswitchinterval(0.001)
    snapshots.SNAPSHOT_EVENTS, unit_of_work.PAGE_EVENTS = SNAPSHOT_EVENTS, PAGE_EVENTS
    before = acked(Path(acks_path))
    acks = os.open(acks_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    if Path(acks_path).read_bytes()[-1:] not in (b"", b"\n"):
        os.write(acks, b"\n")
    with PostgresLog(url) as log:
        writer = Writer(log, stepping_clock(seed, 1 if mode == "late" else 0.2))
        with nullcontext() if mode == "direct" else writer.leading(url, name=name):
            for number in range(1 if mode == "direct" else CLIENTS):
                after = max((each.n for each in before if each.client == number), default=-1) + 1
                client = Client(writer, name, number, seed, acks, after)
                threading.Thread(target=client.run, daemon=True).start()
            threading.Event().wait()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
