"""Promise 1, for imports: after any kill at any time nothing recorded is lost and nothing is doubled."""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

import psycopg

from adapters.log.postgres import APPEND_LOCK, PostgresLog
from adapters.writer.writer import Writer
from domain.order import OrderFilled
from tests import CHECKOUT
from tests.scenarios.importing.histories import NOW, book, desk, history, imported, written

ROWS = 3000


def recorded(log: PostgresLog, database_url: str) -> Counter[str]:
    """How often each fill is on record, once the server has finished or undone what the killed one had begun."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", [APPEND_LOCK])
    events = (logged.recorded.event for logged in log.select(limit=1_000_000))
    return Counter(event.exec_id for event in events if isinstance(event, OrderFilled))


def test_an_import_killed_again_and_again_ends_in_the_same_book(
    log: PostgresLog, database_url: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "fills.csv", history(ROWS))
    _, straight = desk()
    imported(straight, path)
    random, on_record = Random(11), [0]
    for kill in range(3):
        command = [sys.executable, "-m", "tests.scenarios.importing.importer", database_url, str(path)]
        importer = subprocess.Popen(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True)
        assert importer.stdout is not None
        settled = 0
        while settled <= on_record[-1]:  # as soon as it has added something
            settled = int(importer.stdout.readline())
        time.sleep(random.random() * 0.02)
        importer.kill()
        importer.communicate()
        fills = recorded(log, database_url)
        assert set(fills.values()) == {1}
        assert len(fills) % 500 == 0 or len(fills) == ROWS, "a batch is recorded as a whole"
        assert len(fills) >= settled, f"kill {kill}: what was reported as recorded is there"
        on_record.append(len(fills))
        if len(fills) == ROWS:
            break
    assert 0 < on_record[1] < ROWS, "the first kill came half-way"
    summary = imported(Writer(log, lambda: NOW), path)
    assert (summary.recorded, summary.already_known) == (ROWS - on_record[-1], on_record[-1])
    assert book(Writer(log, lambda: NOW)) == book(straight)
