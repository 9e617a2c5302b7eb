"""Amendments of instruments, and delisting."""

from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from msgspec import UNSET, UnsetType
from msgspec.structs import asdict, replace

from api.intake.forms.fields import ANY_TIME, INSTRUMENT, NAME, POSITIVE, Field
from api.intake.forms.form import Form, Look, Operation, Record, known
from api.read_models.records import instrument_record
from domain import instrument
from domain.access import Scope
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
    """Delist an instrument: no order is accepted from a moment on. Venue reports still are, and positions stay."""

    effective_at: Annotated[
        datetime | None, Field(ANY_TIME, "from when on; now if absent", "--from")
    ] = None  # fmt: skip

    def request(self, daybook: "Daybook", at: datetime) -> DelistInstrument:
        """Return the request. Raises Problem if the instrument is not listed."""
        self._listed(daybook.writer.state)
        return DelistInstrument(self.instrument_id, self.effective_at or at)


class RedenominateInstrumentForm(_OfInstrument, frozen=True, kw_only=True):
    """Turn what is held of an instrument into another one: a redenomination, a renaming, a split, a merger of coins.

    `units` of the other for every `per` of this one; 1 for 1 renames. Positions of all accounts, or of one, move at
    their cost, with their lots and the lots' ages: it is no disposal, and nothing is realized. Both instruments are
    listed, of one kind, and settle in one currency. Orders that work in the instrument are canceled first.
    """

    redenomination_id: Annotated[str, Field(NAME, "your own id of it", "--id")]
    to_instrument_id: Annotated[str, Field(INSTRUMENT, "what it becomes; the same one in a split", "--to")]
    units: Annotated[Decimal, Field(POSITIVE, "units of the other instrument")] = ONE
    per: Annotated[Decimal, Field(POSITIVE, "for so many units of this one")] = ONE
    account_id: Annotated[str | None, Field(NAME, "only what this account holds", "--account")] = None
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
            effective_at=moment, account_id=self.account_id or "",
        )  # fmt: skip

    def record(self, look: Look) -> Record:
        """Return the redenomination as it is on record."""
        event = self._listed(look).redenominated(self.redenomination_id)
        assert event is not None, "it was carried out"
        return asdict(event) | {"account_id": event.account_id or None}


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
)  # fmt: skip
