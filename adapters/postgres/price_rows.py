"""The rows of marks and funding rates in SQL, in the canonical form of the leaves that `domain.marks` describes."""

from domain.marks import PriceKind

_TIME = """to_char({} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""

TABLES = {PriceKind.MARK: "market.marks", PriceKind.FUNDING_RATE: "market.funding_rates"}
IDS = {PriceKind.MARK: "mark_id", PriceKind.FUNDING_RATE: "rate_id"}
LEAF = {
    PriceKind.MARK: f"mark_id, instrument_id, {_TIME.format('mark_at')}, trim_scale(price)::text, source, quality, "
    f"{_TIME.format('recorded_at')}",
    PriceKind.FUNDING_RATE: f"rate_id, instrument_id, {_TIME.format('rate_at')}, trim_scale(rate)::text, source, "
    f"NULL::text, {_TIME.format('recorded_at')}",
}
EARLIER_LOCK = 0x0DA7_B011  # one process at a time commits what was recorded before batches were


def leaves_of(kind: PriceKind, rest: str) -> str:
    """Return the query of leaves; `rest` is its conditions and sequence."""
    return f"SELECT {LEAF[kind]} FROM {TABLES[kind]} {rest}"  # noqa: S608 (our own words)


def earlier_leaves(kind: PriceKind) -> str:
    """Return the query of the first prices by id, `LIMIT %s`, that no batch covers though they have a time of record.

    Those are prices that were recorded before batches were.
    """
    covered = f"SELECT max(last_id) FROM market.batches WHERE kind = '{kind}' AND is_earlier"  # noqa: S608
    is_left = f"recorded_at IS NOT NULL AND {IDS[kind]} > coalesce(({covered}), 0)"
    return leaves_of(kind, f"WHERE {is_left} ORDER BY {IDS[kind]} LIMIT %s")
