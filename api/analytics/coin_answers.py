"""Schemas of the gains of disposals of coins, for OpenAPI: their fields are the columns of the report."""

from pydantic import Field

from api.read_models.schemas import Answer, DecimalText, TimeText

Maybe = DecimalText | None
KIND = "what moved the coin, such as SALE, PAYMENT, FEE or REALIZED"


class _Lot(Answer):
    lot_id: str | None = Field(description="the id of the report that acquired it; null if none is on record")
    acquired_account_id: str | None
    acquired_by: str | None
    acquired_at: TimeText | None


class GainRow(Answer):
    """A part of a disposal, matched with a part of a lot; null amounts are explained in `missing`."""

    account_id: str
    coin: str
    disposed_at: TimeText
    kind: str = Field(description=KIND)
    instrument_id: str | None
    reference: str
    line: int
    quantity: DecimalText
    lot_id: str | None = Field(description="the id of the report that acquired it; null if none is on record")
    acquired_account_id: str | None
    acquired_by: str | None
    acquired_at: TimeText | None
    holding_days: int | None
    term: str = Field(description="LONG, SHORT, or UNKNOWN where no acquisition is on record")
    year: int
    currency: str
    cost: Maybe
    proceeds: Maybe
    gain: Maybe
    cost_rate: Maybe
    cost_rate_of: str | None
    cost_rate_at: TimeText | None
    cost_rate_source: str | None
    proceeds_rate: Maybe
    proceeds_rate_of: str | None
    proceeds_rate_at: TimeText | None
    proceeds_rate_source: str | None
    missing: str | None


class GainTotal(Answer):
    """The disposals of a year of one coin in one account, held for long or not. Sums are of valued rows."""

    year: int
    account_id: str
    coin: str
    term: str
    currency: str
    disposals: int
    quantity: DecimalText
    proceeds: DecimalText
    cost: DecimalText
    gain: DecimalText
    unvalued: int
    unvalued_quantity: DecimalText


class GainYear(Answer):
    """A year: all disposals, income on receipt, what derivatives gained, and expenses. Sums are of valued rows."""

    year: int
    currency: str
    disposals: int
    proceeds: DecimalText
    cost: DecimalText
    gain: DecimalText
    gain_long: DecimalText
    gain_short: DecimalText
    gain_unknown: DecimalText
    unvalued: int
    income: DecimalText
    unvalued_income: int
    derivatives: DecimalText
    unvalued_derivatives: int
    expenses: DecimalText
    unvalued_expenses: int


class GainIncome(Answer):
    """Income in a coin, at its market value on receipt, or in the currency itself."""

    account_id: str
    coin: str
    received_at: TimeText
    kind: str
    instrument_id: str | None
    reference: str
    quantity: DecimalText
    year: int
    currency: str
    value: Maybe
    value_rate: Maybe
    value_rate_of: str | None
    value_rate_at: TimeText | None
    value_rate_source: str | None
    missing: str | None


class GainDerivative(Answer):
    """What a derivative gained or cost in what it settles in: realized, funding, a premium or a fee."""

    account_id: str
    settled_at: TimeText
    kind: str = Field(description="REALIZED, FUNDING, PREMIUM, FEE or REBATE")
    instrument_id: str | None
    reference: str
    settle: str
    amount: DecimalText
    year: int
    currency: str
    value: Maybe
    value_rate: Maybe
    value_rate_of: str | None
    value_rate_at: TimeText | None
    value_rate_source: str | None
    missing: str | None


class GainLeft(_Lot):
    """What is left of a lot; `account_id` is null where lots are kept over all accounts."""

    account_id: str | None
    coin: str
    is_in_transit: bool
    quantity: DecimalText
    currency: str
    cost: Maybe
    cost_rate: Maybe
    cost_rate_of: str | None
    cost_rate_at: TimeText | None
    cost_rate_source: str | None
    missing: str | None


class GainRemoved(_Lot):
    """A part of a lot that left the book and was not disposed of, by a withdrawal or an adjustment."""

    account_id: str
    coin: str
    removed_at: TimeText
    kind: str
    reference: str
    quantity: DecimalText
    currency: str
    cost: Maybe


class GainCoin(Answer):
    """What moved of a coin: acquired + moved + uncovered = disposed + removed + left, in quantity and in cost."""

    account_id: str | None
    coin: str
    acquired: DecimalText
    moved: DecimalText
    uncovered: DecimalText
    disposed: DecimalText
    removed: DecimalText
    left: DecimalText
    unvalued: DecimalText
    currency: str
    acquired_cost: DecimalText
    moved_cost: DecimalText
    disposed_cost: DecimalText
    removed_cost: DecimalText
    left_cost: DecimalText


class GainsAnswer(Answer):
    seq: int
    recorded_at: TimeText | None
    occurred_by: TimeText | None
    currency: str
    items: list[GainRow]
    totals: list[GainTotal]
    years: list[GainYear]
    missing: list[str]
    next: str | None
