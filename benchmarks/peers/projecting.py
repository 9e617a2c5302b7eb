"""The eventsourcing library's ProjectionRunner: `python -m benchmarks.peers.projecting URL EVENTS SECONDS`.

It follows the first EVENTS of our log, copied into the library's own table byte for byte, decodes them with our codec,
folds them with our fold, and writes our `executions` table, so that only the following differs. Prints {"events_s"}.
"""

import json
import os
import sys
import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg
from eventsourcing.application import Application
from eventsourcing.persistence import Mapper, Tracking
from eventsourcing.postgres import PostgresTrackingRecorder
from eventsourcing.projection import Projection, ProjectionRunner
from psycopg.types.json import Jsonb

from adapters.log.postgres import RecordMapper
from domain.ledger import Logged
from projections.models import executions
from projections.storage.rows import MemoryRows
from projections.storage.tables import Row

TABLE = executions.executions
KEYS = [column.name for column in TABLE.primary_key.columns]
NAMES = [column.name for column in TABLE.columns]
UPSERT = (
    f"INSERT INTO public.executions ({', '.join(NAMES)}) VALUES ({', '.join('%s' for _ in NAMES)})"
    f" ON CONFLICT ({', '.join(KEYS)}) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in NAMES if name not in KEYS)
)


class Ledger(Application[str]):
    """An application whose events are ours."""

    name = "ledger"

    def construct_mapper(self) -> Mapper[str]:
        return RecordMapper(transcoder=None)  # type: ignore[arg-type]


class View(PostgresTrackingRecorder):
    """Our table, and the tracking position."""

    def write(self, rows: list[Row], tracking: Tracking) -> None:
        with self.datastore.transaction(commit=True) as cursor:
            self._insert_tracking(cursor, tracking=tracking)
            for row in rows:
                values = [Jsonb(row[n]) if n in ("lots", "lot_ids") and row[n] is not None else row[n] for n in NAMES]
                cursor.execute(UPSERT, values, prepare=True)


class RecordingRows(MemoryRows):
    """Rows in memory that record what was put."""

    def __init__(self) -> None:
        super().__init__()
        self.changed: list[Row] = []

    def put(self, table: Any, row: Row) -> None:
        self.changed.append(row)
        super().put(table, row)


class Executions(Projection[View]):
    """Our fold."""

    name = "executions_peer"

    def __init__(self, view: View) -> None:
        super().__init__(view)
        self.rows = RecordingRows()

    def process_event(self, domain_event: Any, tracking: Tracking) -> None:  # type: ignore[override]
        executions.PROJECTION.fold(self.rows, [Logged(tracking.notification_id, domain_event)])
        self.view.write(self.rows.changed, tracking)
        self.rows.changed = []


def main(url: str, events: int, seconds: float) -> None:
    at = urlsplit(url)
    environment = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": at.path.strip("/"),
        "POSTGRES_HOST": parse_qs(at.query)["host"][0],
        "POSTGRES_PORT": parse_qs(at.query)["port"][0],
        "POSTGRES_USER": at.username or "",
        "POSTGRES_PASSWORD": "",
        "POSTGRES_SCHEMA": "public",
        "ORIGINATOR_ID_TYPE": "text",
        "CREATE_TABLE": "y",
    }
    Ledger(environment).close()
    with psycopg.connect(url, autocommit=True) as connection:
        columns = "originator_id, originator_version, topic, state, notification_id"
        connection.execute(
            f"INSERT INTO public.ledger_events ({columns}) SELECT {columns} FROM ledger.events"
            " WHERE notification_id <= %s ORDER BY notification_id", [events],
        )  # fmt: skip
        connection.execute("CREATE TABLE public.executions (LIKE read_executions.executions)")
        connection.execute(f"ALTER TABLE public.executions ADD PRIMARY KEY ({', '.join(KEYS)})")
        began = time.perf_counter()
        with ProjectionRunner(
            application_class=Ledger, projection_class=Executions, view_class=View, env=environment
        ) as runner:
            done = 0
            while done < events and time.perf_counter() - began < seconds:
                time.sleep(0.05)
                done = runner.view.max_tracking_id("ledger") or 0
            taken = time.perf_counter() - began
            print(json.dumps({"events_s": done / taken, "events": done}), flush=True)
            os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
