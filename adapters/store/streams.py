"""Which streams there are."""

from adapters.store.database import Role, connect, reaching

STREAMS = """
SELECT originator_id FROM ledger.events WHERE originator_version = 1 AND starts_with(originator_id, %s)
ORDER BY notification_id
"""


def streams(url: str, prefix: str) -> list[str]:
    """The streams whose id begins so, in order of their first events. Raises Unavailable."""
    with reaching(url), connect(url, Role.AUDITOR) as connection:
        return [stream for (stream,) in connection.execute(STREAMS, [prefix])]
