"""Check of the controls on record: every action that needed a second person had one, every key its giver's rights."""

from typing import NamedTuple

from adapters.postgres.connections import Role, connect, reaching
from domain.ledger import OVERSEEN, Lapse, Logged, Oversight, schema

LAPSES_MAX = 20  # kept; all are counted
FETCHED_ROWS = 1000
STATEMENT_SECONDS_MAX = 6 * 3600
IS_NEEDED = """
SELECT EXISTS (SELECT FROM ledger.events WHERE originator_id = 'approval:all')
    OR EXISTS (SELECT FROM ledger.events WHERE topic = 'KeyIssued')
"""
SELECT = """
SELECT notification_id, topic, state FROM ledger.events WHERE topic = ANY(%s::text[]) ORDER BY notification_id
"""


class Overseen(NamedTuple):
    """The result: actions decided again, the first lapses, and how many there are."""

    checked: int
    lapses: tuple[Lapse, ...]
    lapses_count: int


def check(url: str) -> Overseen:
    """Decide every action about a control again, by what the log had until then. Read-only.

    Raises Unavailable, HistoryBroken.
    """
    oversight, lapses, count = Oversight(), list[Lapse](), 0
    with reaching(url), connect(url, Role.AUDITOR, statement_seconds_max=STATEMENT_SECONDS_MAX) as connection:
        needed = connection.execute(IS_NEEDED).fetchone()
        if needed is None or not needed[0]:
            return Overseen(0, (), 0)
        topics = sorted(schema.topics_read_as(OVERSEEN))
        with connection.transaction(), connection.cursor(name="oversight") as cursor:
            cursor.itersize = FETCHED_ROWS
            for seq, topic, state in cursor.execute(SELECT, [topics]):
                lapse = oversight.add(Logged(seq, schema.decode(topic, bytes(state))))
                if lapse is not None:
                    count += 1
                    lapses += [lapse] if count <= LAPSES_MAX else []
    return Overseen(oversight.checked, tuple(lapses), count)
