"""`python -m tests.samples` writes the golden files that are missing; it never touches one that exists."""

from domain.ledger import schema
from tests import GOLDEN
from tests.samples import RECORDS

for recorded in RECORDS:
    path = GOLDEN / f"{schema.topic_of(recorded.event)}.json"
    if not path.exists():
        path.write_bytes(schema.encode(recorded) + b"\n")
