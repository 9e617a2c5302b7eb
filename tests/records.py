"""Records to fill a log with; what they say does not matter to it."""

from datetime import timedelta

from domain.account import AccountOpened, Costing
from domain.ledger import Recorded
from tests.desk import T0


def record(stream: str, version: int, at_s: float = 0, *, note: str = "USD") -> Recorded:
    """The `version`-th record of a stream, recorded `at_s` seconds after the beginning of time."""
    event = AccountOpened(account_id=stream, base_currency=note, costing=Costing(), transact_time=T0)
    return Recorded(stream, version, T0 + timedelta(seconds=at_s), "tester", "", event)


def records(stream: str, versions: range, at_s: float = 0) -> list[Recorded]:
    """Consecutive records of one stream, recorded at once."""
    return [record(stream, version, at_s) for version in versions]
