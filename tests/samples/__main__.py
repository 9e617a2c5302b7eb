"""`python -m tests.samples` writes the golden files that are missing; it never touches one that exists."""

from domain.ledger import schema
from tests import GOLDEN
from tests.samples import RECORDS, later

NAMED = {schema.topic_of(recorded.event): recorded for recorded in RECORDS}
NAMED |= {f"later/{name}": recorded for name, recorded in later.records(RECORDS).items()}
for name, recorded in NAMED.items():
    path = GOLDEN / f"{name}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(schema.encode(recorded) + b"\n")
