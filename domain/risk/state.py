"""The risk state of an account or of the firm: limits and their usage, folded from `domain.risk.events`."""

from bisect import insort
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import assert_never

from msgspec import Struct
from msgspec.structs import replace

from domain.instrument import Contract, Kind
from domain.order import OrderKey
from domain.risk import coins, dead_man
from domain.risk.capital import Capital, CapitalBasis, Equity, Funds, Statement
from domain.risk.coins import Wallet
from domain.risk.dead_man import Switches
from domain.risk.events import (
    FIRM,
    AccountRegistered,
    AssessmentEvent,
    AssessmentMissed,
    AssessmentResumed,
    BreachCleared,
    CapitalStated,
    ConversionSet,
    DayOpened,
    DeadManSwitchArmed,
    DeadManSwitchDisarmed,
    DeadManSwitchFired,
    EquityAssessed,
    FirmUsageChanged,
    FirmWatchEnded,
    FirmWatchStarted,
    GainsPosted,
    HoldAdjusted,
    HoldExpired,
    HoldPlaced,
    HoldPosted,
    HoldRefused,
    HoldVoided,
    LimitBreached,
    LimitSet,
    LimitStatus,
    RiskEvent,
    SettingEvent,
    ShadowDecided,
    ShadowEvent,
    SwitchEngaged,
    SwitchReleased,
    TradingDaySet,
    UsageCarried,
)
from domain.risk.exposure import Cell, Change, Desk, Exposure, Hold
from domain.risk.measures import WINDOWS, Measure, Scope, is_by_coin
from domain.values import ZERO, Money, Side, exact, leg_of

Limited = tuple[Scope, Measure]
Placed = tuple[Scope, Measure, LimitStatus]


class Shadow(Struct, frozen=True, gc=False):
    """A shadow limit, and its own part of the state it would lead to if it were active; see `Risk`."""

    limit: LimitSet
    window: tuple[datetime, ...] = ()
    breaches: dict[str, LimitBreached] = {}
    missed: str | None = None
    opening_marks: dict[str, tuple[datetime, Decimal]] = {}


class Risk(Struct, frozen=True, gc=False):
    """Limits by scope and measure; the exposure they are measured by; switches, breaches and days.

    `active` are the limits that are not lifted, as they were first set. `windows` has the times of the latest orders
    that passed, for limits of rate, at most as many as the limit allows. `switch_versions` outlives a release;
    `refused` is the last refused replacement of a working order. `is_watched` is, for an account, whether the firm
    checks too, for the firm, whether it does; `accounts`, for the firm, are all accounts. `equity` is as it was last
    assessed, `statement` the capital that was stated and not withdrawn. `beside` has the draft and shadow limits as
    they were last set, `shadows` the shadow limits that are not lifted; `dead_man` has the dead man's switches.
    """

    limits: dict[Limited, LimitSet] = {}
    exposure: Exposure = Exposure()
    active: tuple[LimitSet, ...] = ()
    windows: dict[Limited, tuple[datetime, ...]] = {}
    switches: dict[Scope, SwitchEngaged] = {}
    switch_versions: dict[Scope, int] = {}
    breaches: dict[tuple[Scope, Measure, str], LimitBreached] = {}
    missed: dict[Limited, str] = {}
    conversions: dict[str, Contract] = {}
    starts_at_hour: int = 0
    opening_marks: dict[str, tuple[datetime, Decimal]] = {}
    equity: Equity | None = None
    refused: dict[OrderKey, HoldRefused] = {}
    is_watched: bool = False
    accounts: frozenset[str] = frozenset()
    statement: Statement | None = None
    beside: dict[Placed, LimitSet] = {}
    shadows: dict[Limited, Shadow] = {}
    dead_man: Switches = {}

    @property
    def holds(self) -> Mapping[OrderKey, Hold]:
        """The holds of all working orders."""
        return self.exposure.holds

    @property
    def positions(self) -> dict[tuple[str, str], Decimal]:
        """The signed positions, by strategy and instrument."""
        held: dict[tuple[str, str], Decimal] = {}
        for instrument_id, desk, cell in self.exposure.all():
            at = (desk.strategy_id, instrument_id)
            held[at] = exact(held.get(at, ZERO) + cell.now.quantity)
        return held

    def position(self, scope: Scope, instrument_id: str) -> Decimal:
        """The signed position in one instrument, of the scope's strategy or of all."""
        return exact(sum((cell.now.quantity for cell in self._cells(scope, instrument_id)), ZERO))

    def held(self, scope: Scope, instrument_id: str, side: Side) -> Decimal:
        """The quantity that working orders of one side still hold in one instrument, unsigned."""
        return exact(sum((cell.held(side) for cell in self._cells(scope, instrument_id)), ZERO))

    @property
    def checked(self) -> tuple[LimitSet, ...]:
        """The limits that are checked: active ones, and those in shadow."""
        return (*self.active, *(shadow.limit for shadow in self.shadows.values()))

    @property
    def needs_funds(self) -> bool:
        """Whether a limit measures by the capital that is on record."""
        return self.statement is None and any(limit.measure.is_of_equity for limit in self.checked)

    def capital(self, funds: Funds | None) -> Capital:
        """The sources of the capital; `funds` are on record."""
        return Capital(self.statement, funds, self.equity)

    @property
    def needs_watch(self) -> bool:
        """Whether the firm has any limit that is checked, or kill switch."""
        return bool(self.active or self.switches or self.shadows)

    def limit_set(self, scope: Scope, measure: Measure, status: LimitStatus) -> LimitSet | None:
        """The limit of a scope and measure as it was last set in one status, also where it is lifted."""
        if status is LimitStatus.ACTIVE:
            return self.limits.get((scope, measure))
        return self.beside.get((scope, measure, status))

    def shadows_over(self, strategy_id: str, instrument_id: str, asset: str | None) -> list[Shadow]:
        """The shadow limits that cover a strategy in an instrument."""
        return [each for each in self.shadows.values() if each.limit.scope.covers(strategy_id, instrument_id, asset)]

    def as_if_active(self, shadow: Shadow) -> "Risk":
        """The state with a shadow limit active, instead of the active one of its scope and measure.

        Other limits are left out where no result of this one depends on them: an order that is checked against it has
        passed them.
        """
        at = (shadow.limit.scope, shadow.limit.measure)
        needs_all = shadow.limit.measure in (  # marks that the others find fresh, leverages of other instruments
            Measure.MAX_MARK_AGE,
            Measure.BUYING_POWER,
        )
        others = (
            limit
            for limit in self.active
            if (limit.scope, limit.measure) != at and (needs_all or limit.measure is Measure.MAX_MARK_AGE)
        )
        return replace(
            self,
            limits=self.limits | {at: shadow.limit},
            active=(*others, shadow.limit),
            windows=(self.windows if needs_all else {}) | ({at: shadow.window} if at[1] in WINDOWS else {}),
            breaches={(*at, subject): breach for subject, breach in shadow.breaches.items()},
            missed={} if shadow.missed is None else {at: shadow.missed},
            opening_marks=self.opening_marks if needs_all else shadow.opening_marks,
            shadows={},
        )

    def limits_over(self, strategy_id: str, instrument_id: str, asset: str | None) -> Iterator[LimitSet]:
        """The limits that cover a strategy in an instrument."""
        return (limit for limit in self.active if limit.scope.covers(strategy_id, instrument_id, asset))

    def marks_needed(
        self, strategy_id: str, instrument_id: str, asset: str | None, *, is_at_market: bool, quote: str = "",
        funds: Funds | None = None, wallets: Iterable[Wallet] = (),
    ) -> set[str]:  # fmt: skip
        """The instruments whose marks the check of an order may need: its own, all held, those to convert by.

        `quote` is the currency of the order's notional, which needs no conversion by what is held.
        """
        needed = {instrument_id} if is_at_market else set()
        beside = [shadow.limit for shadow in self.shadows_over(strategy_id, instrument_id, asset)]
        paid_in = self.limits_of_payment(strategy_id, instrument_id, asset, quote)
        for limit in (*self.limits_over(strategy_id, instrument_id, asset), *paid_in, *beside):
            if limit.measure in _OF_THE_ORDERS_MARK:
                needed.add(instrument_id)
            if limit.measure.is_money:
                needed |= self.conversions.keys()
            if limit.measure is Measure.BUYING_POWER:
                needed |= self.unpriced()
            if limit.measure is Measure.MAX_POSITION and limit.scope.is_of_coin:
                needed |= {instrument_id} | self.inverse_in(limit.scope.asset)
            if limit.measure.spans_instruments:
                needed |= {instrument_id} | self.marks_needed_to_assess(funds, wallets)
            elif limit.measure.is_money and limit.currency != quote:
                needed |= self.traded_pairs(funds, wallets).keys()
        return needed

    def limits_of_payment(
        self, strategy_id: str, instrument_id: str, asset: str | None, quote: str
    ) -> Iterator[LimitSet]:
        """The limits of exposure to the coin that an order in a pair is paid with; it moves that coin as well."""
        return (
            limit
            for limit in self.active
            if is_by_coin(limit.measure, limit.scope)
            and limit.scope.asset == quote != asset
            and limit.scope.covers(strategy_id, instrument_id, quote)
        )

    def traded_pairs(self, funds: Funds | None = None, wallets: Iterable[Wallet] = ()) -> dict[str, Contract]:
        """The spot instruments to convert currencies by where no named one does: held, working, or of coins that were
        paid in or moved otherwise.

        These are of what has been traded or ordered before.
        """
        found: dict[str, Contract] = {}
        left: dict[str, Contract] = {}
        for instrument_id, _, cell in self.exposure.all():
            if cell.contract is not None and cell.contract.kind is Kind.SPOT:
                (found if cell.orders or cell.now.quantity else left)[instrument_id] = cell.contract
        if not left:
            return found
        paid_in = {money.currency for money in funds.paid_in} if funds is not None else set()
        if self.needs_wallets:
            paid_in |= {money.currency for wallet in wallets for money in wallet.coins}
            paid_in |= {money.currency for _, _, cell in self.exposure.all() for money in coins.paid(cell)}
        return {name: pair for name, pair in left.items() if pair.base in paid_in} | found

    @property
    def needs_wallets(self) -> bool:
        """Whether a limit that is checked is of what is held by coin."""
        return any(is_by_coin(limit.measure, limit.scope) for limit in self.checked)

    @property
    def needs_cash(self) -> bool:
        """Whether a limit that is checked is of the account's balances."""
        return any(limit.measure is Measure.BUYING_POWER for limit in self.checked)

    def inverse_in(self, asset: str | None) -> set[str]:
        """The inverse contracts in a coin that are held or ordered: how much of it they are depends on their price."""
        return {
            instrument_id
            for instrument_id, _, cell in self.exposure.all()
            if cell.contract is not None and cell.contract.kind is Kind.INVERSE and cell.contract.base == asset
        }

    def unpriced(self) -> set[str]:
        """The instruments in which orders work whose own price is unknown."""
        return {
            instrument_id
            for instrument_id, _, cell in self.exposure.all()
            if (cell.buying and not cell.buying_at) or (cell.selling and not cell.selling_at)
        }

    def marks_needed_to_assess(self, funds: Funds | None = None, wallets: Iterable[Wallet] = ()) -> set[str]:
        """The instruments whose marks monitoring needs: held now or at the day's opening, and those to convert by."""
        held = {
            instrument_id
            for instrument_id, _, cell in self.exposure.all()
            if cell.orders or cell.now.quantity or cell.opening.quantity
        }
        return held | self.conversions.keys() | self.traded_pairs(funds, wallets).keys()

    @property
    def is_marked(self) -> bool:
        """Whether a limit of what is held is measured by marks."""
        return any(
            limit.measure.is_held and (limit.measure is not Measure.MAX_POSITION or limit.scope.is_of_coin)
            for limit in self.checked
        )

    def _cells(self, scope: Scope, instrument_id: str) -> Iterator[Cell]:
        for desk, cell in self.exposure.of(instrument_id):
            if scope.strategy_id in (None, desk.strategy_id):
                yield cell


_OF_THE_ORDERS_MARK = (Measure.PRICE_COLLAR, Measure.MAX_ORDER_NOTIONAL, Measure.MAX_POSITION_NOTIONAL)


def evolve(risk: Risk | None, event: RiskEvent) -> Risk:
    """The limits and their usage after an event. Total and unconditional."""
    risk = risk or Risk()
    match event:
        case HoldPosted():
            return _with_posting(risk, event)
        case HoldPlaced():
            hold = Hold(
                event.strategy_id, event.instrument_id, event.side, event.quantity, price=event.price,
                position_side=leg_of(event.position_side),
            )  # fmt: skip
            placed = replace(risk, exposure=risk.exposure.with_hold(event.key, hold, event.contract))
            return _with_sent(
                risk=placed,
                strategy_id=event.strategy_id,
                instrument_id=event.instrument_id,
                contract=event.contract,
                at=event.transact_time,
            )
        case HoldVoided() | HoldExpired():
            refused = {at: kept for at, kept in risk.refused.items() if at != event.key}
            return replace(risk, exposure=risk.exposure.with_released(event.key, event.released), refused=refused)
        case HoldAdjusted():
            return _with_adjustment(risk, event)
        case GainsPosted():
            return _with_gains(risk, event)
        case HoldRefused():
            return replace(risk, refused=risk.refused | {event.key: event}) if event.change_id else risk
        case LimitSet() | SwitchEngaged() | SwitchReleased() | TradingDaySet() | ConversionSet() | CapitalStated():
            return _with_setting(risk, event)
        case (
            LimitBreached()
            | BreachCleared()
            | AssessmentMissed()
            | AssessmentResumed()
            | EquityAssessed()
            | DayOpened()
        ):
            return _with_assessment(risk, event)
        case ShadowDecided():
            return _with_shadow_decided(risk, event)
        case DeadManSwitchArmed() | DeadManSwitchDisarmed() | DeadManSwitchFired():
            return replace(risk, dead_man=dead_man.evolve(risk.dead_man, event))
        case FirmUsageChanged():
            return evolve(risk, event.change)
        case AccountRegistered() | FirmWatchStarted() | FirmWatchEnded() | UsageCarried():
            return _with_watch(risk, event)
        case _:
            assert_never(event)


def _with_setting(risk: Risk, event: SettingEvent) -> Risk:
    match event:
        case LimitSet():
            return _with_limit(risk, event)
        case SwitchEngaged() | SwitchReleased():
            return _with_switch(risk, event)
        case TradingDaySet():
            return replace(risk, starts_at_hour=event.starts_at_hour)
        case ConversionSet():
            others = {at: known for at, known in risk.conversions.items() if at != event.instrument_id}
            named = {event.instrument_id: event.contract} if event.contract else {}
            return replace(risk, conversions=others | named)
        case CapitalStated():
            return replace(risk, statement=_statement(event.capital, event.transact_time))
        case _:
            assert_never(event)


def _with_assessment(risk: Risk, event: AssessmentEvent) -> Risk:
    match event:
        case LimitBreached():
            at = (event.scope, event.measure, event.subject)
            return replace(risk, breaches=risk.breaches | {at: event})
        case BreachCleared():
            gone = (event.scope, event.measure, event.subject)
            return replace(risk, breaches={at: breach for at, breach in risk.breaches.items() if at != gone})
        case AssessmentMissed():
            return replace(risk, missed=risk.missed | {(event.scope, event.measure): event.rule})
        case AssessmentResumed():
            resumed = (event.scope, event.measure)
            return replace(risk, missed={at: rule for at, rule in risk.missed.items() if at != resumed})
        case EquityAssessed():
            return _with_equity(risk, event)
        case DayOpened():
            shadows = {at: _with_opening(shadow, event) for at, shadow in risk.shadows.items()}
            opened = _opened(risk.opening_marks, event) | _marks_of(event)
            return replace(risk, opening_marks=opened, shadows=shadows)
        case _:
            assert_never(event)


def _statement(capital: Money | None, at: datetime) -> Statement | None:
    return None if capital is None else Statement(capital, at)


def _with_equity(risk: Risk, event: EquityAssessed) -> Risk:
    """Before capital was stated by an event of its own, a capital that was assessed with was stated."""
    equity = Equity(
        event.currency, event.capital, event.high, basis=event.basis, paid_in=event.paid_in, highs=event.highs
    )
    statement = risk.statement
    if statement is None and event.basis is CapitalBasis.STATED:
        statement = Statement(Money(event.capital, event.currency), event.transact_time)
    return replace(risk, equity=equity, statement=statement)


def _marks_of(event: DayOpened) -> dict[str, tuple[datetime, Decimal]]:
    return {seen.mark.instrument_id: (event.day_from, seen.mark.price) for seen in event.marks}


def _opened(
    marks: Mapping[str, tuple[datetime, Decimal]], event: DayOpened
) -> dict[str, tuple[datetime, Decimal]]:  # those of the day that are known already
    return {at: mark for at, mark in marks.items() if mark[0] >= event.day_from}


def _with_opening(shadow: Shadow, event: DayOpened) -> Shadow:
    """The shadow limit with the first marks of a day, where it has none of that day."""
    return replace(shadow, opening_marks=_marks_of(event) | _opened(shadow.opening_marks, event))


def _with_shadow_decided(risk: Risk, event: ShadowDecided) -> Risk:
    at = (event.scope, event.measure)
    shadow = risk.shadows.get(at)
    if shadow is None:
        return risk
    return replace(risk, shadows=risk.shadows | {at: _shadow_after(shadow, event.decided)})


def _shadow_after(shadow: Shadow, decided: ShadowEvent) -> Shadow:
    match decided:
        case HoldRefused():
            return shadow
        case LimitBreached():
            return replace(shadow, breaches=shadow.breaches | {decided.subject: decided})
        case BreachCleared():
            left = {subject: breach for subject, breach in shadow.breaches.items() if subject != decided.subject}
            return replace(shadow, breaches=left)
        case AssessmentMissed():
            return replace(shadow, missed=decided.rule)
        case AssessmentResumed():
            return replace(shadow, missed=None)
        case DayOpened():
            return _with_opening(shadow, decided)
        case _:
            assert_never(decided)


def _with_watch(risk: Risk, event: AccountRegistered | FirmWatchStarted | FirmWatchEnded | UsageCarried) -> Risk:
    match event:
        case AccountRegistered():
            return replace(risk, accounts=risk.accounts | {event.account_id})
        case FirmWatchStarted():
            return replace(risk, is_watched=True)
        case FirmWatchEnded(account_id) if account_id == FIRM:
            return replace(risk, exposure=Exposure(), breaches={}, missed={}, opening_marks={}, is_watched=False)
        case FirmWatchEnded():
            return replace(risk, is_watched=False)
        case UsageCarried():
            return replace(risk, exposure=_with_carried(risk.exposure, event), is_watched=True)
        case _:
            assert_never(event)


def _with_gains(risk: Risk, event: GainsPosted) -> Risk:
    desk = Desk(event.account_id, event.strategy_id, leg_of(event.position_side))
    exposure = risk.exposure
    for change in event.changes:
        exposure = exposure.with_change(
            desk, event.instrument_id, contract=None, change=change, starts_at_hour=risk.starts_at_hour
        )
    return replace(risk, exposure=exposure)


def _with_posting(risk: Risk, event: HoldPosted) -> Risk:
    desk = Desk(event.key.account_id, event.strategy_id, leg_of(event.position_side))
    change = Change(event.transact_time, event.quantity, event.cost, event.gains, transferred=event.transferred)
    exposure = risk.exposure.with_posting(
        event.key,
        event.released,
        desk,
        event.instrument_id,
        contract=event.contract,
        change=change,
        starts_at_hour=risk.starts_at_hour,
    )
    refused = risk.refused
    if refused and event.key not in exposure.holds:
        refused = {at: kept for at, kept in refused.items() if at != event.key}
    return replace(risk, exposure=exposure, refused=refused)


def _with_adjustment(risk: Risk, event: HoldAdjusted) -> Risk:
    known: Hold | None = risk.exposure.holds.get(event.key)
    change_id = event.change_id or (known.change_id if known else "")
    price = event.price if event.price is not None else (known.price if known else None)
    hold = Hold(
        event.strategy_id, event.instrument_id, event.side, event.quantity, change_id=change_id, price=price,
        position_side=leg_of(event.position_side),
    )  # fmt: skip
    adjusted = replace(risk, exposure=risk.exposure.with_hold(event.key, hold, event.contract))
    if not event.change_id:
        return adjusted
    return _with_sent(
        risk=adjusted,
        strategy_id=event.strategy_id,
        instrument_id=event.instrument_id,
        contract=event.contract,
        at=event.transact_time,
    )


def _with_sent(
    risk: Risk, strategy_id: str, instrument_id: str, contract: Contract | None, at: datetime
) -> Risk:  # an order or a replacement was sent: it counts for every limit of rate that covers it
    asset = contract.base if contract else None
    if risk.shadows:
        risk = replace(
            risk,
            shadows={
                place: replace(shadow, window=_sent(shadow.window, shadow.limit, at))
                if place[1] in WINDOWS and place[0].covers(strategy_id, instrument_id, asset)
                else shadow
                for place, shadow in risk.shadows.items()
            },
        )
    if not risk.windows:
        return risk
    windows = dict(risk.windows)
    for (scope, measure), window in risk.windows.items():
        if scope.covers(strategy_id, instrument_id, asset):
            windows[scope, measure] = _sent(window, risk.limits[scope, measure], at)
    return replace(risk, windows=windows)


def _sent(window: tuple[datetime, ...], limit: LimitSet, at: datetime) -> tuple[datetime, ...]:
    """The window with one more, of at most as many as the limit allows."""
    sent = list(window)
    insort(sent, at)
    return tuple(sent[-int(limit.limit) :]) if limit.limit else ()


def _with_limit(risk: Risk, event: LimitSet) -> Risk:
    """The state with a limit set or lifted in one status, and lifted in the status that it was moved from."""
    if event.moved_from is not None:
        known = risk.limit_set(event.scope, event.measure, event.moved_from)
        if known is not None:
            risk = _with_limit(risk, replace(known, limit=None, moved_from=None))
    return _with_active(risk, event) if event.status is LimitStatus.ACTIVE else _with_beside(risk, event)


def _with_beside(risk: Risk, event: LimitSet) -> Risk:
    beside = risk.beside | {(event.scope, event.measure, event.status): event}
    if event.status is not LimitStatus.SHADOW:
        return replace(risk, beside=beside)
    at = (event.scope, event.measure)
    shadows = {place: shadow for place, shadow in risk.shadows.items() if place != at}
    if event.limit is not None:
        known = risk.shadows.get(at)
        new = Shadow(event, opening_marks=risk.opening_marks) if known is None else replace(known, limit=event)
        shadows[at] = new
    return replace(risk, beside=beside, shadows=shadows)


def _with_active(risk: Risk, event: LimitSet) -> Risk:
    at = (event.scope, event.measure)
    limits = risk.limits | {at: event}
    active = tuple(limit for limit in limits.values() if limit.limit is not None)
    if event.limit is None:
        windows = {limited: window for limited, window in risk.windows.items() if limited != at}
        breaches = {broken: breach for broken, breach in risk.breaches.items() if broken[:2] != at}
        missed = {limited: rule for limited, rule in risk.missed.items() if limited != at}
        return replace(risk, limits=limits, active=active, windows=windows, breaches=breaches, missed=missed)
    windows = risk.windows
    if event.measure in WINDOWS and at not in windows:
        windows = windows | {at: ()}
    return replace(risk, limits=limits, active=active, windows=windows)


def _with_switch(risk: Risk, event: SwitchEngaged | SwitchReleased) -> Risk:
    switches = {scope: switch for scope, switch in risk.switches.items() if scope != event.scope}
    if isinstance(event, SwitchEngaged):
        switches[event.scope] = event
    return replace(risk, switches=switches, switch_versions=risk.switch_versions | {event.scope: event.version})


def _with_carried(exposure: Exposure, event: UsageCarried) -> Exposure:
    for carried in event.cells:
        desk = Desk(event.account_id, carried.strategy_id, leg_of(carried.position_side))
        cell = Cell(carried.contract, carried.now, carried.opening, carried.day_from)
        exposure = exposure.with_cell(desk, carried.instrument_id, cell)
    for order in event.holds:
        hold = Hold(
            order.strategy_id, order.instrument_id, order.side, order.quantity, change_id=order.change_id,
            position_side=leg_of(order.position_side), price=order.price,
        )  # fmt: skip
        exposure = exposure.with_hold(order.key, hold, order.contract)
    return exposure
