"""Usage of limits now: used, headroom and breach of every measure, at the present marks and at the capital on record.

What a limit was breached by, or could not be monitored for, is on record (`projections.models.limits`); what it is used
by now depends on marks, and is measured here by the domain, from the limits' own streams. Of a past moment the usage is
as it was on record.

The limit of BUYING_POWER is a leverage. Its usage is of each currency what orders and positions need by that leverage,
its headroom what is left there, and together they are the balance.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal, DecimalException
from functools import partial
from typing import Any, TypedDict

from msgspec.structs import asdict

from api.clock import now
from api.daybook import Daybook
from api.problems import not_found
from api.read_models.snapshot import Reading, marks_at
from api.read_models.states import StatesAt
from domain import account, instrument, risk
from domain.errors import RequestRefused
from domain.ledger import cash_of, funds_of, wallets_of
from domain.marks import MARK_AGE_MAX, Prices
from domain.risk import (
    ANYWHERE,
    FIRM,
    BuyingPower,
    CapitalBasis,
    Funds,
    LimitSet,
    LimitStatus,
    Measure,
    Meter,
    Risk,
    Scope,
    Wallet,
    age_allowed,
    by_account,
    day_of,
    is_by_coin,
)
from domain.values import ZERO, Mark, divide
from projections.analytics.exposure import HeadroomRow, with_headroom
from projections.controls import shadow_limits
from projections.models import limits
from projections.storage.tables import AnyRow

ANY_AGE = timedelta(days=365_000)
COUNTED = (Measure.MAX_POSITION, Measure.MAX_OPEN_ORDERS)  # shown as the read model has them
MODELS = shadow_limits.BOTH


class CapitalRow(TypedDict):
    """The capital that limits are measured by: amounts in `currency`; equity = capital + gain, at present marks.

    `paid_in` is on record, by currency, also while a capital is stated. `unassessed` is why the equity is not known.
    """

    account_id: str
    basis: CapitalBasis | None
    currency: str | None
    capital: Decimal | None
    gain: Decimal | None
    equity: Decimal | None
    stated_at: datetime | None
    paid_in: list[dict[str, Any]]
    unassessed: str | None


def usage(
    daybook: Daybook, at: Reading, account_id: str | None = None, *, strategy_id: str | None = None,
    instrument_id: str | None = None, marks: Mapping[str, Mark] | None = None,
) -> list[HeadroomRow]:  # fmt: skip
    """Return every limit, active, in shadow and draft, of one account or of all and the firm, with usage and headroom.

    A limit on each instrument or asset has a row for each in use. Of a strategy or instrument only the limits on it,
    and those on any. `marks` are those of the reading, where they are known.
    """
    wanted = {"strategy_id": strategy_id, "instrument_id": instrument_id}
    rows: Sequence[AnyRow] = [
        row
        for row in shadow_limits.every_limit(at.source, account_id)
        if all(name is None or row[column] in (None, name) for column, name in wanted.items())  # type: ignore[literal-required]
    ]
    if at.recorded_at is None and rows:
        seen = tuple((marks_at(daybook, at, {}) if marks is None else marks).values())
        states = StatesAt(daybook, at.seq)
        rows = [used for row in rows for used in _measured(states, row, seen, at.known_at or now())]
    return [with_headroom(row) for row in rows]


def capital_of(daybook: Daybook, at: Reading, account_id: str) -> CapitalRow:
    """Return the capital of an account or of the firm, stated or on record, and its equity at present marks.

    Raises Problem (404) for an account that is not on record.
    """
    states, moment = StatesAt(daybook, at.seq), at.known_at or now()
    if account_id != FIRM and states.state(account.stream(account_id)) is None:
        raise not_found(f"account {account_id}", account_id=account_id)
    known: Risk = states.state(risk.stream(account_id)) or Risk()
    funds = funds_of(states, known, account_id)
    found: CapitalRow = {
        "account_id": account_id, "basis": None, "currency": None, "capital": None, "gain": None, "equity": None,
        "stated_at": None, "paid_in": [asdict(each) for each in funds.paid_in] if funds is not None else [],
        "unassessed": None,
    }  # fmt: skip
    if known.statement is not None:
        stated = known.statement
        found |= {"basis": CapitalBasis.STATED, "stated_at": stated.stated_at}
        found |= {"currency": stated.capital.currency, "capital": stated.capital.amount}
    elif funds is not None and funds.is_on_record:
        found |= {"basis": CapitalBasis.BOOK, "currency": funds.currency}
    try:
        used = _meter(known, tuple(marks_at(daybook, at, {}).values()), moment, funds).equity()
    except RequestRefused as missing:
        found["unassessed"] = _reason(missing)
    except DecimalException:
        found["unassessed"] = "its numbers have more digits than are exact"
    else:
        found |= {"currency": used.currency, "capital": used.capital, "gain": used.gain, "equity": used.total}
    return found


def _meter(
    known: Risk,
    marks: Sequence[Mark],
    moment: datetime,
    funds: Funds | None,
    *,
    age_max: timedelta | None = None,
    wallets: tuple[Wallet, ...] = (),
) -> Meter:
    """Return the meter at these marks, fresh ones unless `age_max` allows older."""
    allowed = age_allowed(limit for limit in known.active if limit.scope == ANYWHERE)
    pairs = partial(known.traded_pairs, funds, wallets)
    prices = Prices(marks, moment, age_max or allowed, known.conversions, others=pairs)
    return Meter(
        known.exposure, prices, known.capital(funds), day_of(moment, known.starts_at_hour),
        opening_marks=known.opening_marks, at=moment, wallets=by_account(wallets),
    )  # fmt: skip


def _measured(states: StatesAt, row: AnyRow, marks: Sequence[Mark], moment: datetime) -> list[AnyRow]:
    """Return one row for each subject that the limit is measured on: an instrument, an asset, or all of its scope.

    Where a mark is too old, the usage is shown at that mark, and why it is not monitored.
    """
    measure, owner = Measure(row["measure"]), row["account_id"]
    scope = Scope(*(row[name] for name in limits.SCOPE))
    if measure in COUNTED and not is_by_coin(measure, scope):
        return [row]
    known: Risk = states.state(risk.stream(owner)) or Risk()
    if measure is Measure.BUYING_POWER:
        return _of_buying_power(states, row, marks, moment)
    funds = funds_of(states, known, owner) if measure.is_of_equity and known.needs_funds else None
    wallets = wallets_of(states, known, owner) if is_by_coin(measure, scope) else ()
    window = known.windows.get((scope, measure), ())
    if row["status"] == LimitStatus.SHADOW:
        window = known.shadows[scope, measure].window if (scope, measure) in known.shadows else ()
    unassessed: str | None = None
    for age_max in (None, ANY_AGE):
        try:
            held = _meter(known, marks, moment, funds, age_max=age_max, wallets=wallets).shown(
                measure, scope, row["currency"], window=window
            )
        except RequestRefused as missing:
            unassessed = unassessed or _reason(missing)
        except DecimalException:
            unassessed = "its numbers have more digits than are exact"
        else:
            return [_with_usage(row, subject, used, unassessed) for subject, used in (held or {"": ZERO}).items()]
    return [_with_usage(row, "", None, unassessed)]


def _of_buying_power(states: StatesAt, row: AnyRow, marks: Sequence[Mark], moment: datetime) -> list[AnyRow]:
    """Return one row for each currency of the account; of a limit on an instrument for those the instrument needs."""
    scope, owner = Scope(*(row[name] for name in limits.SCOPE)), row["account_id"]
    known: Risk = states.state(risk.stream(owner)) or Risk()
    own = LimitSet(
        owner, scope, Measure.BUYING_POWER, row["limit"], currency=None, version=row["version"], transact_time=moment
    )
    others = [limit for limit in known.active if (limit.scope, limit.measure) != (scope, own.measure)]
    prices = Prices(marks, moment, MARK_AGE_MAX, known.conversions)
    try:
        left = BuyingPower(known.exposure, prices, (*others, own), cash_of(states, owner)).left()
    except RequestRefused as missing:
        return [_with_usage(row, "", None, _reason(missing))]
    if scope.instrument_id is not None:
        contract = states.state(instrument.stream(scope.instrument_id)).contract
        left = [need for need in left if need.currency in (contract.settle, contract.base)]
    return [
        {
            **row, "subject": need.currency, "currency": need.currency, "used": need.committed,
            "headroom": need.available, "unassessed": None,
            "utilisation": divide(need.committed, need.balance) if need.balance > 0 else None,
        }
        for need in left
    ] or [{**_with_usage(row, "", ZERO, None), "headroom": ZERO}]  # fmt: skip


def _with_usage(row: AnyRow, subject: str, used: Decimal | None, unassessed: str | None) -> AnyRow:
    limit = row["limit"]
    utilisation = divide(used, limit) if used is not None and limit else None
    return {**row, "subject": subject, "used": used, "utilisation": utilisation, "unassessed": unassessed}


def _reason(missing: RequestRefused) -> str:
    """Return why something cannot be measured: what is missing and what to do, or the rule and its facts."""
    if (what := missing.facts.get("missing")) is not None:
        return f"missing is {what}"
    facts = ", ".join(f"{name} {fact}" for name, fact in missing.facts.items())
    return f"{missing.rule} ({facts})" if facts else missing.rule
