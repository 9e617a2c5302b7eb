"""What each role may do to the database, and what none may: change the log."""

from collections.abc import Callable, Iterator

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege, RestrictViolation

from adapters.log.postgres import PostgresLog
from adapters.postgres import connections
from adapters.postgres.connections import Connection, Role
from tests.records import record

pytestmark = pytest.mark.slow

As = Callable[[Role | None], Connection]

SELECT_EVENTS = "SELECT count(*) FROM ledger.events"
INSERT_EVENT = "INSERT INTO ledger.events VALUES ('x', 1, 'T', '', 2, now())"
SELECT_ANSWERS = "SELECT count(*) FROM ledger.requests"
INSERT_ANSWER = "INSERT INTO ledger.requests VALUES ('a', 'k', sha256('b'), 1, 1, now(), 'x')"
SELECT_LEADER = "SELECT count(*) FROM ledger.leader"
LEAD = "INSERT INTO ledger.leader (term, name, backend_pid) VALUES (1, 'me', 1)"
SELECT_SNAPSHOTS = "SELECT count(*) FROM ledger.snapshots"
KEEP_SNAPSHOT = "INSERT INTO ledger.snapshots VALUES ('x', 1, 'account:f', 's')"
DROP_SNAPSHOTS = "DELETE FROM ledger.snapshots"
ALTER_SNAPSHOT = "UPDATE ledger.snapshots SET state = 't'"
EMPTY_SNAPSHOTS = "TRUNCATE ledger.snapshots"
SELECT_MARKS = "SELECT count(*) FROM market.marks"
INSERT_MARK = "INSERT INTO market.marks VALUES (nextval('market.price_ids'), 'BTC', now(), 1.5, 't')"
NEXT_MARK = "SELECT nextval('market.price_ids')"
SELECT_BATCHES = "SELECT count(*) FROM market.batches, market.leaves"
INSERT_BATCH = "INSERT INTO market.batches VALUES ('MARK', 1, 1, 1, now(), false, 1)"
INSERT_LEAVES = "INSERT INTO market.leaves VALUES ('MARK', 1, '')"
SELECT_PROOF = "SELECT count(*) FROM ledger.identity, ledger.keys, ledger.tiles, ledger.checkpoints, ledger.group_runs"
NAME_LEDGER = "INSERT INTO ledger.identity (ledger_id) VALUES (gen_random_uuid())"
INSERT_TILE = "INSERT INTO ledger.tiles VALUES (0, 0, decode(repeat('00', 8192), 'hex'), sha256(''))"
INSERT_CHECKPOINT = "INSERT INTO ledger.checkpoints (size, note, leaves) VALUES (1, '', '')"
INSERT_GROUP = "INSERT INTO ledger.group_runs VALUES ('x', 1, 1, decode(repeat('00', 40), 'hex'), '', '')"
DROP_GROUPS = "DELETE FROM ledger.group_runs"
PUBLISH_KEY = "INSERT INTO ledger.keys (place, vkey, since_size) VALUES (1, 'k', 0)"
SELECT_KEYS = "SELECT count(*) FROM access.api_keys"
INSERT_KEY = "INSERT INTO access.api_keys VALUES ('k2', sha256('2'), 'somebody', '{trade}')"
REVOKE_KEY = "UPDATE access.api_keys SET revoked_at = now() WHERE key_id = 'k1'"
RAISE_KEY = "UPDATE access.api_keys SET scopes = '{admin}' WHERE key_id = 'k1'"
DELETE_KEY = "DELETE FROM access.api_keys"
SELECT_PROGRESS = "SELECT count(*) FROM read.progress"
NOTE_PROGRESS = "INSERT INTO read.progress (projection, version) VALUES ('pnl', 1)"
CREATE_READ_MODEL = "CREATE SCHEMA read_other"
SELECT_READ_MODEL = "SELECT count(*) FROM read_pnl.rows"
WRITE_READ_MODEL = "INSERT INTO read_pnl.rows VALUES (1)"
LIST_SUBJECTS = "SELECT subject, made_at, forgotten_at FROM personal.subjects"
SELECT_SUBJECT_KEY = "SELECT key FROM personal.subjects"
INSERT_SUBJECT = "INSERT INTO personal.subjects (subject, key) VALUES ('s2', decode(repeat('00', 64), 'hex'))"
FORGET_SUBJECT = "UPDATE personal.subjects SET key = NULL, forgotten_at = now()"
RENAME_SUBJECT = "UPDATE personal.subjects SET subject = 's3'"
DELETE_SUBJECT = "DELETE FROM personal.subjects"
CREATE_IN_LOG = "CREATE TABLE ledger.extra ()"
DISABLE_TRIGGER = "ALTER TABLE ledger.events DISABLE TRIGGER ALL"

MAY = {
    Role.WRITER: {
        *(SELECT_EVENTS, INSERT_EVENT, SELECT_MARKS, INSERT_MARK, SELECT_KEYS, SELECT_PROGRESS, SELECT_PROOF),
        *(SELECT_ANSWERS, INSERT_ANSWER, SELECT_LEADER, LEAD),
        *(SELECT_SNAPSHOTS, KEEP_SNAPSHOT, DROP_SNAPSHOTS),
        *(NEXT_MARK, SELECT_BATCHES, INSERT_LEAVES),
    },
    Role.PROJECTOR: {
        *(SELECT_EVENTS, SELECT_MARKS, SELECT_BATCHES, SELECT_PROGRESS, NOTE_PROGRESS),
        *(CREATE_READ_MODEL, SELECT_READ_MODEL, WRITE_READ_MODEL),
    },
    Role.SEALER: {SELECT_EVENTS, SELECT_PROOF, NAME_LEDGER, INSERT_TILE, INSERT_CHECKPOINT, INSERT_GROUP, PUBLISH_KEY},
    Role.AUDITOR: {
        SELECT_ANSWERS,
        SELECT_LEADER,
        SELECT_SNAPSHOTS,
        SELECT_EVENTS,
        SELECT_MARKS,
        SELECT_BATCHES,
        SELECT_PROGRESS,
        SELECT_READ_MODEL,
        SELECT_PROOF,
        LIST_SUBJECTS,
        SELECT_KEYS,
    },
    Role.ADMIN: {SELECT_KEYS, INSERT_KEY, REVOKE_KEY, RAISE_KEY},
    Role.CUSTODIAN: {LIST_SUBJECTS, SELECT_SUBJECT_KEY, INSERT_SUBJECT, FORGET_SUBJECT},
}
COLUMN_OF = {
    "ledger.identity": "ledger_id",
    "ledger.keys": "vkey",
    "ledger.tiles": "root",
    "ledger.checkpoints": "note",
}
STATEMENTS = [value for name, value in sorted(globals().items()) if name.isupper() and isinstance(value, str)]


@pytest.fixture(name="act_as")
def connections_by_role(database_url: str, log: PostgresLog) -> Iterator[As]:
    """Connections to a database that has an event, a mark, a key and a read model."""
    log.append([record("a", 1)])
    opened: list[Connection] = []

    def act_as(role: Role | None) -> Connection:
        opened.append(connections.connect(database_url, role))
        return opened[-1]

    act_as(Role.WRITER).execute(INSERT_MARK)
    act_as(Role.WRITER).execute(INSERT_ANSWER.replace("'a'", "'b'"))
    act_as(Role.ADMIN).execute("INSERT INTO access.api_keys VALUES ('k1', sha256('1'), 'bot', '{trade}')")
    act_as(Role.PROJECTOR).execute("CREATE SCHEMA read_pnl; CREATE TABLE read_pnl.rows (n int)")
    yield act_as
    for connection in opened:
        connection.close()


@pytest.mark.parametrize("role", Role)
def test_a_role_may_do_its_task_and_nothing_else(act_as: As, role: Role) -> None:
    connection, may = act_as(role), set[str]()
    for statement in STATEMENTS:
        try:
            with connection.transaction(force_rollback=True):
                connection.execute(statement)  # type: ignore[arg-type]
                may.add(statement)
        except InsufficientPrivilege:
            pass
    assert may == MAY[role]


@pytest.mark.parametrize("table", ["ledger.identity", "ledger.keys", "ledger.tiles", "ledger.checkpoints"])
@pytest.mark.parametrize(
    "change",
    ["UPDATE {} SET ctid = ctid WHERE false", "DELETE FROM {}", "DELETE FROM {} WHERE false", "TRUNCATE {}"],
)
def test_no_role_removes_a_proof(act_as: As, change: str, table: str) -> None:
    for role in (None, *Role):
        statement = change.format(table).replace("ctid = ctid", f"{COLUMN_OF[table]} = NULL")
        with pytest.raises(RestrictViolation if role is None else InsufficientPrivilege):
            act_as(role).execute(statement)  # type: ignore[arg-type]


@pytest.mark.parametrize("table", ["ledger.events", "ledger.requests", "market.marks", "market.batches"])
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE {} SET recorded_at = now()",
        "UPDATE {} SET recorded_at = now() WHERE false",
        "DELETE FROM {}",
        "TRUNCATE {}",
        "TRUNCATE {} CASCADE",
        "MERGE INTO {} AS t USING (SELECT 1) AS s ON true WHEN MATCHED THEN DELETE",
    ],
)
@pytest.mark.parametrize("role", [None, *Role], ids=lambda role: role or "owner")
def test_no_role_changes_what_was_recorded(act_as: As, role: Role | None, change: str, table: str) -> None:
    owner, connection = act_as(None), act_as(role)
    query = f"SELECT array_agg(t) FROM {table} AS t"
    before = owner.execute(query).fetchone()  # type: ignore[arg-type]
    with pytest.raises(RestrictViolation if role is None else InsufficientPrivilege):
        connection.execute(change.format(table))  # type: ignore[arg-type]
    assert owner.execute(query).fetchone() == before  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE personal.subjects SET key = sha512('')",
        "UPDATE personal.subjects SET subject = 'other', key = NULL, forgotten_at = now()",
        "DELETE FROM personal.subjects",
        "TRUNCATE personal.subjects",
    ],
)
def test_not_even_the_owner_changes_a_subject_s_key_or_lets_a_forgotten_one_have_a_new_one(
    act_as: As, change: str
) -> None:
    owner = act_as(None)
    act_as(Role.CUSTODIAN).execute(INSERT_SUBJECT)
    for _ in range(2):
        with pytest.raises(RestrictViolation):
            owner.execute(change)  # type: ignore[arg-type]
        owner.execute(FORGET_SUBJECT)


def test_the_refusal_names_the_rule_and_the_reason(act_as: As) -> None:
    with pytest.raises(RestrictViolation, match=r"ledger\.events is append-only: DELETE refused") as refused:
        act_as(None).execute("DELETE FROM ledger.events")
    assert "recording another event" in (refused.value.diag.message_hint or "")


@pytest.mark.parametrize("table", ["ledger.events", "ledger.requests", "market.marks", "market.batches"])
def test_replication_mode_does_not_switch_the_refusal_off(act_as: As, table: str) -> None:
    owner = act_as(None)
    owner.execute("SET session_replication_role = replica")
    for change in (f"DELETE FROM {table}", f"TRUNCATE {table}"):
        with pytest.raises(RestrictViolation):
            owner.execute(change)  # type: ignore[arg-type]


def test_a_conflict_cannot_be_turned_into_a_change(act_as: As) -> None:
    statement = "INSERT INTO ledger.events TABLE ledger.events ON CONFLICT (notification_id) DO UPDATE SET topic = 'X'"
    with pytest.raises(RestrictViolation):
        act_as(None).execute(statement)


def test_the_auditor_sees_a_read_model_made_later(act_as: As) -> None:
    act_as(Role.PROJECTOR).execute("CREATE SCHEMA read_late; CREATE TABLE read_late.rows AS SELECT 7 AS n")
    assert act_as(Role.AUDITOR).execute("SELECT n FROM read_late.rows").fetchone() == (7,)


@pytest.mark.parametrize("role", [Role.PROJECTOR, Role.AUDITOR])
def test_a_log_opened_to_read_cannot_append(database_url: str, role: Role) -> None:
    with PostgresLog(database_url, role) as log:
        assert log.head().seq == 0
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            log.append([record("a", 1)])
        assert log.head().seq == 0


@pytest.mark.parametrize("price", ["NaN", "Infinity", "-Infinity"])
def test_a_mark_is_a_finite_number(act_as: As, price: str) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        act_as(Role.WRITER).execute(
            "INSERT INTO market.marks (mark_id, instrument_id, mark_at, price, source) VALUES (1, 'X', now(), %s, 't')",
            [price],
        )
