"""The gains of disposals of coins, alike for the API and the command line.

An account is computed together with those whose lots may have reached it by transfers. Marks are looked up one for
each moment and pair, as they were on record when the reading is known.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from api.daybook import Daybook
from api.parameters import DAY_SECONDS, parsed_equals
from api.read_models.snapshot import Reading
from domain.account import CostBasis, FeePolicy
from domain.errors import InvalidInput
from domain.holdings.gains import Scope, Withdrawals
from domain.values import Mark
from projections.analytics.disposals import LONG_TERM_DAYS
from projections.calendar import parsed_zone
from projections.gains import coin_entries, facts
from projections.gains.coin_entries import ConventionsRow
from projections.gains.facts import Wanted
from projections.gains.rates import Place, Valuing, valued
from projections.gains.report import Report, Selection, report
from projections.models import reference_data

GAINS_MODELS = ("executions", "coins", "references")
LOOK_UPS_MAX = 5000  # at once
YEAR_FIRST = 2009


class GainsRequest(NamedTuple):
    """What is requested: see the parameters of the report `gains`. None stands for the default of each.

    Coins are not kept by strategy and instrument, so neither is ever selected.
    """

    account_id: str | None = None
    asset: str | None = None
    method: CostBasis | None = None
    fee_policy: FeePolicy | None = None
    scope: Scope | None = None
    withdrawals: Withdrawals | None = None
    year: int | None = None
    zone: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    long_term_days: int | None = None
    currency: str | None = None
    equal: tuple[str, ...] = ()
    mark_age_max: int | None = None
    strategy_id: None = None
    instrument_id: None = None


def gains(daybook: Daybook, at: Reading, requested: GainsRequest) -> Report:
    """Return the gains requested. Raises InvalidInput where accounts are kept by several currencies or methods."""
    scope = requested.scope or Scope.ACCOUNT
    conventions = coin_entries.conventions(at.source)
    chosen: tuple[str, ...] | None = None
    if scope is Scope.ACCOUNT and requested.account_id is not None:
        chosen = facts.linked(at.source, requested.account_id)
    kept = {name: row for name, row in conventions.items() if chosen is None or name in chosen}
    currency = requested.currency or _shared(kept, requested.account_id)
    valuing = Valuing(
        currency,
        reference_data.pairs(at.source, kept),
        timedelta(seconds=requested.mark_age_max or DAY_SECONDS),
        tuple(map(parsed_equals, requested.equal)),
    )

    def look_up(places: Sequence[Place]) -> list[Mark | None]:
        parts = (places[first : first + LOOK_UPS_MAX] for first in range(0, len(places), LOOK_UPS_MAX))
        return [mark for part in parts for mark in daybook.market.latest_each(part, at.known)]

    def policy_of(account_id: str) -> FeePolicy:
        return requested.fee_policy or conventions[account_id]["fee_policy"]

    wanted = Wanted(chosen, at.occurred_by, requested.withdrawals or Withdrawals.REMOVED)
    movements = valued(facts.facts(at.source, wanted), valuing, look_up, policy_of)
    bases = _bases(kept, scope, requested.method)
    return report(movements, scope, bases, _selection(requested), currency=currency)


def _selection(requested: GainsRequest) -> Selection:
    days = LONG_TERM_DAYS if requested.long_term_days is None else requested.long_term_days
    return Selection(
        parsed_zone(requested.zone) if requested.zone else UTC,
        days,
        account_id=requested.account_id,
        coin=requested.asset,
        since=requested.since,
        until=requested.until,
        year=requested.year,
    )


def _shared(kept: dict[str, ConventionsRow], account_id: str | None) -> str:
    """Return the base currency of the accounts. Raises InvalidInput if they share none."""
    bases = sorted({row["base_currency"] for row in kept.values()})
    if len(bases) == 1:
        return bases[0]
    if account_id in kept and not bases:
        return kept[account_id]["base_currency"]
    known = ", ".join(bases)
    raise InvalidInput("currency", None, f"named: the accounts do not share one base currency ({known})")


def _bases(kept: dict[str, ConventionsRow], scope: Scope, method: CostBasis | None) -> dict[str, CostBasis]:
    """Return the cost basis of each account, or of all together. Raises InvalidInput if they share none."""
    if scope is Scope.ACCOUNT:
        return {name: method or row["cost_basis"] for name, row in kept.items()}
    own = sorted({row["cost_basis"].value for row in kept.values()})
    if method is None and len(own) > 1:
        raise InvalidInput("method", None, f"named: the accounts keep cost by several ({', '.join(own)})")
    return {"": method or CostBasis(own[0] if own else CostBasis.FIFO)}
