"""API keys on record: each key that the table has now becomes an event, in the log's own words, once and for all.

From this revision on a key opens the door only if the log has it, so that a row inserted later opens nothing. The bytes
are written as the first Daybook of this revision would; `daybook_admin` may change scopes, and auditors compare.
"""

import json
from datetime import UTC, datetime
from hashlib import sha256

import sqlalchemy
from alembic import op

from adapters.postgres.migrations.naming import named

revision = "0013"
down_revision = "0012"

APPEND_LOCK = 0x0DA7_B00C
KEYS = """
SELECT key_id, key_sha256, actor, scopes, created_at, revoked_at FROM access.api_keys ORDER BY created_at, key_id
"""
HEAD = """
SELECT coalesce(max(notification_id), 0), greatest(
    clock_timestamp(), (SELECT recorded_at FROM ledger.events ORDER BY notification_id DESC LIMIT 1)
) FROM ledger.events
"""
INSERT = """
INSERT INTO ledger.events (originator_id, originator_version, topic, state, notification_id, recorded_at)
VALUES (:stream, 1, 'KeyRegistered', :state, :seq, :recorded_at)
"""

RIGHTS = """
GRANT UPDATE (scopes) ON access.api_keys TO daybook_admin;
GRANT USAGE ON SCHEMA access TO daybook_auditor;
GRANT SELECT ON access.api_keys TO daybook_auditor;
"""


def upgrade() -> None:
    op.execute(named(RIGHTS))
    connection = op.get_bind()
    found = connection.execute(sqlalchemy.text(KEYS)).all()
    if not found:
        return
    connection.execute(sqlalchemy.text(f"SELECT pg_advisory_xact_lock({APPEND_LOCK})"))
    seq, recorded_at = connection.execute(sqlalchemy.text(HEAD)).one()
    for key_id, digest, actor, scopes, issued_at, revoked_at in found:
        seq += 1
        event = {
            "type": "KeyRegistered", "key_id": key_id, "name": actor, "scopes": sorted(scopes),
            "fingerprint": sha256(b"daybook key\n" + key_id.encode() + b"\n" + bytes(digest)).hexdigest(),
            "issued_at": _text(issued_at), "revoked_at": _text(revoked_at), "transact_time": _text(recorded_at),
        }  # fmt: skip
        record = {
            "stream": f"access:{key_id}", "version": 1, "recorded_at": _text(recorded_at), "actor": "system:upgrade",
            "request_id": "", "event": event, "by": {"kind": "system", "name": "system:upgrade"},
        }  # fmt: skip
        state = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()
        row = {"stream": record["stream"], "state": state, "seq": seq, "recorded_at": recorded_at}
        connection.execute(sqlalchemy.text(INSERT), row)


def _text(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat() + "Z"


def downgrade() -> None:
    raise NotImplementedError("a book of record is not undone; restore a backup beside it instead")
