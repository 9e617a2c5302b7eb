"""Amendments of instruments, delisting, renaming; and redenominations of instruments and coins."""

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from msgspec import UNSET, UnsetType
from msgspec.structs import asdict, replace

from api.intake.forms.fields import ANY_TIME, CURRENCY, INSTRUMENT, NAME, NUMBER, POSITIVE, TEXT, Field
from api.intake.forms.form import Form, Look, Operation, Record, known
from api.read_models.records import instrument_record
from domain import account, instrument, risk, values
from domain.access import Scope
from domain.account import AssetRedenominated, RedenominateAsset
from domain.errors import InvalidInput
from domain.instrument import AmendInstrument, DelistInstrument, Instrument, RedenominateInstrument
from domain.values import ONE

if TYPE_CHECKING:
    from api.daybook import Daybook


class _OfInstrument(Form, frozen=True, kw_only=True):
    instrument_id: Annotated[str, Field(INSTRUMENT, "the instrument")]

    def _listed(self, look: Look) -> Instrument:
        state: Instrument = known(
            look(instrument.stream(self.instrument_id)), f"instrument {self.instrument_id}",
            instrument_id=self.instrument_id,
        )  # fmt: skip
        return state

    def record(self, look: Look) -> Record:
        """Return the instrument, with the newest facts."""
        return instrument_record(self._listed(look))


class AmendInstrumentForm(_OfInstrument, frozen=True, kw_only=True):
    """Change the facts of an instrument from a moment on. A field that is absent stays as it is at that moment.

    What happened before keeps the facts of its day. Kind and currencies stay: list another instrument for others. An
    amendment holds from after the last one. Another contract size turns what is held into that many contracts of the
    new size, at its cost and with its lots. It is refused while orders work in the instrument: cancel them first.
    """

    contract_size: Annotated[Decimal | None, Field(POSITIVE, "base (inverse: quote) units a contract")] = None
    tick_size: Annotated[Decimal | None, Field(POSITIVE, "the step of prices")] = None
    lot_size: Annotated[Decimal | None, Field(POSITIVE, "the step of quantities")] = None
    expiry: Annotated[datetime | UnsetType | None, Field(ANY_TIME, "when it expires; null: never")] = UNSET
    strike: Annotated[Decimal | None, Field(POSITIVE, "of an option")] = None
    effective_at: Annotated[
        datetime | None, Field(ANY_TIME, "from when on; now if absent", "--from")
    ] = None  # fmt: skip

    def request(self, daybook: "Daybook", at: datetime) -> AmendInstrument:
        """Return the request, completed with the facts that stay. Raises Problem and InvalidInput."""
        listed = self._listed(daybook.writer.state)
        if self.expiry is UNSET and (self.contract_size, self.tick_size, self.lot_size, self.strike) == (None,) * 4:
            raise InvalidInput("body", None, "one of contract_size, tick_size, lot_size, expiry or strike to change")
        since = self.effective_at or at
        facts = listed.facts_at(since)
        contract = replace(
            facts.contract,
            contract_size=self.contract_size or facts.contract.contract_size,
            strike=self.strike or facts.contract.strike,
        )
        if self.expiry is not UNSET:
            contract = replace(contract, expiry=self.expiry)
        return AmendInstrument(
            self.instrument_id, contract, self.tick_size or facts.tick_size, self.lot_size or facts.lot_size,
            effective_at=since,
        )  # fmt: skip


class DelistInstrumentForm(_OfInstrument, frozen=True, kw_only=True):
    """Delist an instrument: no order is accepted from a moment on. Venue reports and transfers still are.

    Unless that moment is ahead, open orders in it end, of every account. With a `settlement_px` what all accounts hold
    of a derivative is closed at this price of it; the instrument may have been delisted before. Of spot, and without a
    price, positions stay.
    """

    effective_at: Annotated[
        datetime | None, Field(ANY_TIME, "from when on; now if absent", "--from")
    ] = None  # fmt: skip

    settlement_px: Annotated[
        Decimal | None, Field(NUMBER, "of a derivative: its price at which it is closed", "--price")
    ] = None

    def request(self, daybook: "Daybook", at: datetime) -> DelistInstrument:
        """Return the request. Raises Problem if the instrument is not listed."""
        listed = self._listed(daybook.writer.state)
        was_settled = self.settlement_px is not None and listed.settlement_px is not None
        moment = listed.delisted_at if was_settled and listed.delisted_at is not None else at
        return DelistInstrument(self.instrument_id, self.effective_at or moment, self.settlement_px)


class RedenominateInstrumentForm(_OfInstrument, frozen=True, kw_only=True):
    """Turn what is held of an instrument into another one: a redenomination, a renaming, a split, a merger of coins.

    `units` of the other for every `per` of this one. Positions of all accounts, or of one, move at their cost, with
    their lots and the lots' ages: it is no disposal, and nothing is realized. Both instruments are listed, of one kind,
    and settle in one currency. What is less than a lot of the other one is sold at `fraction_px`, if that is given.

    Open orders are carried: what is left of them, their price and trigger in units of the other instrument. One that
    does not fit its tick and lot size, and one with a replacement under way, is canceled first.
    """

    redenomination_id: Annotated[str, Field(NAME, "your own id of it", "--id")]
    to_instrument_id: Annotated[str, Field(INSTRUMENT, "what it becomes; the same one in a split", "--to")]
    units: Annotated[Decimal, Field(POSITIVE, "units of the other instrument")] = ONE
    per: Annotated[Decimal, Field(POSITIVE, "for so many units of this one")] = ONE
    account_id: Annotated[str | None, Field(NAME, "only what this account holds", "--account")] = None
    fraction_px: Annotated[Decimal | None, Field(NUMBER, "the price that fractions of a lot are paid at")] = None
    effective_at: Annotated[
        datetime | None, Field(ANY_TIME, "when it happened; now if absent", "--at")
    ] = None  # fmt: skip

    def request(self, daybook: "Daybook", at: datetime) -> RedenominateInstrument:
        """Return the request. Raises Problem if the instrument is not listed."""
        listed = self._listed(daybook.writer.state)
        known = listed.redenominated(self.redenomination_id)
        moment = self.effective_at or (known.effective_at if known is not None else at)
        return RedenominateInstrument(
            self.instrument_id, self.redenomination_id, self.to_instrument_id, self.units, per=self.per,
            effective_at=moment, account_id=self.account_id or "", fraction_px=self.fraction_px,
        )  # fmt: skip

    def record(self, look: Look) -> Record:
        """Return the redenomination as it is on record."""
        return redenomination_record(self._listed(look), self.redenomination_id)


def redenomination_record(listed: Instrument, redenomination_id: str) -> Record:
    """Return a redenomination of an instrument as it is on record."""
    event = listed.redenominated(redenomination_id)
    assert event is not None, "it was carried out"
    return asdict(event) | {"account_id": event.account_id or None}


class RenameInstrumentForm(_OfInstrument, frozen=True, kw_only=True):
    """Rename an instrument: all that any account holds of it, and every open order, is of the new name.

    The new name is listed with the facts of the old one, unless it is listed already. The old one takes no more orders;
    what a venue still reports of before is booked under it. Cost, lots and ages are kept.
    """

    redenomination_id: Annotated[str, Field(NAME, "your own id of it", "--id")]
    to_instrument_id: Annotated[str, Field(INSTRUMENT, "the new name", "--to")]
    effective_at: Annotated[
        datetime | None, Field(ANY_TIME, "when it happened; now if absent", "--at")
    ] = None  # fmt: skip

    def request(self, daybook: "Daybook", at: datetime) -> RedenominateInstrument:
        """Return the request. Raises Problem if the instrument is not listed."""
        known = self._listed(daybook.writer.state).redenominated(self.redenomination_id)
        moment = self.effective_at or (known.effective_at if known is not None else at)
        return RedenominateInstrument(
            self.instrument_id, self.redenomination_id, self.to_instrument_id, ONE, per=ONE, effective_at=moment,
            is_renaming=True,
        )  # fmt: skip

    def record(self, look: Look) -> Record:
        """Return the renaming as it is on record."""
        return redenomination_record(self._listed(look), self.redenomination_id)


class RedenominateAssetForm(Form, frozen=True, kw_only=True):
    """Turn all that is held of a coin into another coin: a redenomination, a renaming, a merger into another coin.

    `units` of the other for every `per` of this one, in all accounts or in one. In one unit of work it turns spot pairs
    and linear contracts with the coin as base, of every strategy, at their cost and with their lots and ages; carries
    their open orders; and exchanges the rest of the balance, with what is staked and borrowed. It is no disposal.

    A pair becomes the one that is named alike at the same venue (GXSUSDT.SIM: REIUSDT.SIM), which is listed if need be,
    or what `successors` names. Contracts that settle in the coin are closed before, pending transfers of it settled or
    returned. Pairs that are only paid in the coin stay as they are.
    """

    asset: Annotated[str, Field(CURRENCY, "the coin")]
    redenomination_id: Annotated[str, Field(NAME, "your own id of it", "--id")]
    to_asset: Annotated[str, Field(CURRENCY, "what it becomes", "--to")]
    units: Annotated[Decimal, Field(POSITIVE, "units of the other coin")] = ONE
    per: Annotated[Decimal, Field(POSITIVE, "for so many units of this one")] = ONE
    account_id: Annotated[str | None, Field(NAME, "only what this account holds", "--account")] = None
    successors: Annotated[tuple[str, ...], Field(TEXT, "OLD=NEW, of what is not named alike", "--successor")] = ()
    effective_at: Annotated[
        datetime | None, Field(ANY_TIME, "when it happened; now if absent", "--at")
    ] = None  # fmt: skip

    def _events(self, look: Look) -> Iterator[AssetRedenominated]:
        firm = look(risk.stream(risk.FIRM))
        for account_id in [self.account_id] if self.account_id else sorted(firm.accounts) if firm is not None else []:
            state = look(account.stream(account_id))
            found = state.redenominations.get(self.redenomination_id) if state is not None else None
            if found is not None:
                yield found

    def request(self, daybook: "Daybook", at: datetime) -> RedenominateAsset:
        """Return the request. Raises InvalidInput."""
        known = next(self._events(daybook.writer.state), None)
        moment = self.effective_at or (known.effective_at if known is not None else at)
        named = [tuple(each.partition("=")[::2]) for each in self.successors]
        for each, (old, new) in zip(self.successors, named, strict=True):
            if not (old and new):
                raise InvalidInput("successors", each, "two instruments as OLD=NEW")
        return RedenominateAsset(
            self.asset, self.redenomination_id, self.to_asset, self.units, per=self.per, effective_at=moment,
            account_id=self.account_id or "",
            successors=tuple((values.instrument_id(old), values.instrument_id(new)) for old, new in named),
        )  # fmt: skip

    def record(self, look: Look) -> Record:
        """Return the redenomination as it is on record, and the accounts it was carried out in."""
        events = list(self._events(look))
        at = events[0].effective_at if events else self.effective_at
        return {
            "asset": self.asset, "redenomination_id": self.redenomination_id, "to_asset": self.to_asset,
            "units": self.units, "per": self.per, "effective_at": at,
            "account_ids": [event.account_id for event in events],
        }  # fmt: skip


_PERPETUAL = {"instrument_id": "BTCUSD-PERP.BITMEX"}
_AMEND = Operation(
    "amend_instrument", AmendInstrumentForm, "/instruments/{instrument_id:path}/amend", "instrument amend",
    scope=Scope.ADMIN, answer="InstrumentAnswer", arguments=("instrument_id",),
    said="{instrument_id}: contract size {contract_size}, tick {tick_size}, lot {lot_size} from {effective_at} on.",
    example=_PERPETUAL | {"tick_size": "0.1", "effective_at": "2026-06-01T00:00:00Z"},
    usage="instrument amend BTCUSD-PERP.BITMEX --lot-size 100 --from 2026-07-01T00:00:00Z",
)  # fmt: skip
OPERATIONS = (
    _AMEND,
    _AMEND._replace(
        name="patch_instrument", path="/instruments/{instrument_id:path}", method="PATCH", is_hidden=True,
        example=_PERPETUAL | {"lot_size": "10", "effective_at": "2026-06-02T00:00:00Z"},
    ),
    Operation(
        "delist_instrument", DelistInstrumentForm, "/instruments/{instrument_id:path}/delist", "instrument delist",
        scope=Scope.ADMIN, answer="InstrumentAnswer", arguments=("instrument_id",),
        said="{instrument_id} accepts no orders from {delisted_at} on.",
        example=_PERPETUAL | {"effective_at": "2199-01-01T00:00:00Z"},
        usage="instrument delist BTCUSD-PERP.BITMEX --from 2198-01-01T00:00:00Z",
    ),
    Operation(
        "redenominate_instrument", RedenominateInstrumentForm, "/instruments/{instrument_id:path}/redenominate",
        "instrument redenominate", scope=Scope.ADMIN, answer="RedenominationAnswer", arguments=("instrument_id",),
        said="{instrument_id} became {to_instrument_id}: {units} for {per}, at {effective_at}.",
        example={
            "instrument_id": "BTCUSD-PERP.BITMEX", "redenomination_id": "R-1", "units": "10", "per": "1",
            "to_instrument_id": "BTCUSD-PERP.BITMEX",
        },
        usage="instrument redenominate BTCUSD-PERP.BITMEX --id R-2 --to BTCUSD-PERP.BITMEX --units 2",
    ),
    Operation(
        "rename_instrument", RenameInstrumentForm, "/instruments/{instrument_id:path}/rename", "instrument rename",
        scope=Scope.ADMIN, answer="RedenominationAnswer", arguments=("instrument_id",),
        said="{instrument_id} is {to_instrument_id} from {effective_at} on.",
        example={
            "instrument_id": "BTCUSD-PERP.BITMEX", "redenomination_id": "N-1", "to_instrument_id": "XBTUSD.BITMEX",
        },
        usage="instrument rename BTCUSD-PERP.BITMEX --id N-1 --to XBTUSD.BITMEX",
    ),
    Operation(
        "redenominate_asset", RedenominateAssetForm, "/assets/{asset}/redenominate", "asset redenominate",
        scope=Scope.ADMIN, answer="AssetRedenominationAnswer", arguments=("asset",),
        said="{asset} became {to_asset}: {units} for {per}, at {effective_at}.",
        example={"asset": "GXS", "redenomination_id": "R-1", "to_asset": "REI", "units": "10", "per": "1"},
        usage="asset redenominate GXS --id R-2 --to REI --units 10",
    ),
)  # fmt: skip
