"""What one row of a file says: a fill, a leg of something that moved, a conversion, a funding payment, or nothing.

Amounts of movements are signed as the balance moves; a fill's quantity is above zero and has a side. `id` is the
venue's own, "" where the file has none. Facts that belong together share a `group`; see `grouping`.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from msgspec import Struct

from domain.instrument import Contract
from domain.order import OrderReport
from domain.values import Liquidity, Money, Side


class What(StrEnum):
    """Why an amount moved. Of the first three several belong together."""

    TRADE = "TRADE"  # a leg: one of the two assets of a trade
    TRADE_FEE = "TRADE_FEE"  # on a line of its own
    CONVERSION = "CONVERSION"  # a leg: one asset exchanged for another at the venue's rate
    DEPOSIT = "DEPOSIT"
    WITHDRAWAL = "WITHDRAWAL"
    INTERNAL = "INTERNAL"  # between the owner's own wallets at one venue
    FEE = "FEE"
    FUNDING = "FUNDING"
    INTEREST = "INTEREST"
    STAKING = "STAKING"
    AIRDROP = "AIRDROP"
    REBATE = "REBATE"
    INCOME = "INCOME"
    LOAN = "LOAN"
    SETTLEMENT = "SETTLEMENT"  # profit and loss of a derivative, where the file has no fills of it
    REBRANDING = "REBRANDING"  # one coin replaced by another: no disposal
    ADJUSTMENT = "ADJUSTMENT"
    NOTHING = "NOTHING"  # announced, canceled or in another row: no balance moves


class Source(Struct, frozen=True, gc=False):
    """The row that a fact comes from: its line, its text, and its place in time."""

    line: int
    raw: str
    at: datetime
    nanos: int = 0


class Traded(Struct, frozen=True, gc=False, tag=True, omit_defaults=True):
    """A fill. `symbol` is the venue's; `amount` its value in quote units, None where the file has none."""

    source: Source
    symbol: str
    contract: Contract
    side: Side
    quantity: Decimal
    price: Decimal
    fees: tuple[Money, ...] = ()
    amount: Decimal | None = None
    id: str = ""
    order_id: str = ""
    seq: int = 0
    liquidity: Liquidity = Liquidity.UNKNOWN
    group: str = ""
    venue: str = ""


class Moved(Struct, frozen=True, gc=False, tag=True, omit_defaults=True):
    """A movement of one asset, or a leg of one; `fee` is paid beside it. `balance` is the file's, after it."""

    source: Source
    what: What
    asset: str
    amount: Decimal
    id: str = ""
    group: str = ""
    note: str = ""
    fee: Money | None = None
    balance: Decimal | None = None
    wallet: str = ""
    base: str = ""  # of a leg of a trade: the asset that is traded, where the file says which
    symbol: str = ""  # the instrument it is about
    venue: str = ""
    group_id: str = ""  # the venue's id of what its group says together, such as a trade


class Converted(Struct, frozen=True, gc=False, tag=True, omit_defaults=True):
    """One asset exchanged for another at the venue's own rate."""

    source: Source
    sold: Money
    bought: Money
    fee: Money | None = None
    id: str = ""
    note: str = ""
    venue: str = ""


class Funded(Struct, frozen=True, gc=False, tag=True, omit_defaults=True):
    """A funding payment of a perpetual: above zero received."""

    source: Source
    symbol: str
    contract: Contract
    amount: Money
    id: str = ""
    venue: str = ""


class Ignored(Struct, frozen=True, gc=False, tag=True, omit_defaults=True):
    """A row that moves nothing, and why."""

    source: Source
    reason: str


class Reported(Struct, frozen=True, gc=False, tag=True, omit_defaults=True):
    """A report of an order as the venue sent it; whose it is, is not known yet. Of a fill with its contract."""

    source: Source
    report: OrderReport
    contract: Contract | None = None


Fact = Reported | Traded | Moved | Converted | Funded | Ignored
