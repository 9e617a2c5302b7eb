"""Assets and pairs by the venue's own names: aliases of assets, and where a pair without a separator is split.

Aliases and quote assets are data of each layout (`adapters.exchanges.layouts`). What the desk states itself, in a file
of assets or for an instrument, goes before all of it; so does an instrument that is on record.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from domain import names
from domain.errors import ReportUnreadable
from domain.instrument import Contract, Kind

_SEPARATED = re.compile(r"([^-_/: ]+)[-_/: ]([^-_/: ]+)")
CANDIDATES_SHOWN_MAX = 5
QUOTES = (  # of pairs at most venues; a layout whose venue has others names all of them
    "USDT",
    "USDC",
    "DAI",
    "EUR",
    "GBP",
    "USD",
    "AUD",
    "CAD",
    "CHF",
    "JPY",
    "TRY",
    "BRL",
    "KRW",
    "BTC",
    "XBT",
    "ETH",
)
RANKED = (  # of two assets the one further on the left is the quote of their pair
    "TRY", "BRL", "ARS", "COP", "MXN", "RUB", "UAH", "ZAR", "IDR", "IDRT", "BIDR", "NGN", "PLN", "RON", "CZK", "INR",
    "KRW", "JPY", "USDT", "USD", "BUSD", "USDC", "FDUSD", "TUSD", "USDP", "DAI", "UST", "EUR", "GBP", "AUD", "CAD",
    "CHF", "BTC", "XBT", "ETH", "BNB", "KCS", "TRX",
)  # fmt: skip
_RANKS = {asset: rank for rank, asset in enumerate(RANKED)}
Listed = Callable[[str], Contract | None]
Split = Callable[[str], tuple[str, str] | None]


def none_listed(_: str) -> Contract | None:
    """Return None: no instrument is on record."""
    return None


class Assets:
    """The names of assets and the pairs of one venue."""

    def __init__(
        self,
        aliases: Mapping[str, str],
        quotes: Sequence[str] = (),
        *,
        stated: Mapping[str, tuple[str, str]] | None = None,
        listed: Listed = none_listed,
        split: Split | None = None,
        strip: str = "",
    ) -> None:
        """Know `aliases` of assets, the `quotes` of pairs (the usual ones if absent), and pairs that the desk `stated`.

        `split` is the venue's own way to split a pair, before the usual one; `strip` a pattern of what is taken off the
        name of an asset, such as `.S` of one that is staked.
        """
        self._aliases = dict(aliases)
        self._quotes = tuple(sorted(quotes or QUOTES, key=lambda quote: (-len(quote), quote)))
        self._stated = stated or {}
        self._listed = listed
        self._split = split
        self._strip = re.compile(strip) if strip else None
        self._pairs: dict[str, Contract] = {}

    def named(self, asset: str) -> str:
        """Return the book's name of an asset."""
        bare = self._strip.sub("", asset) if self._strip is not None else asset
        return self._aliases.get(bare, bare) if bare else asset

    def listed(self, symbol: str) -> Contract | None:
        """Return the contract of an instrument that is on record; None if it is not."""
        return self._listed(symbol)

    def spot(self, pair: str, *, base: str = "", quote: str = "") -> Contract:
        """Return the contract of a spot pair; `base` and `quote` where the file has them.

        Raises ReportUnreadable where the assets are not clear.
        """
        known = self._pairs.get(pair)
        if known is None or (base and known.base != self.named(base)):
            known = self._pairs[pair] = self._spot(pair, base, quote)
        return known

    def _spot(self, pair: str, base: str, quote: str) -> Contract:
        listed = self._listed(pair)
        if listed is not None:
            return listed
        first, second = self._stated.get(pair) or ((base, quote) if base and quote else self.split(pair))
        first, second = self.named(first), self.named(second)
        if first == second:
            raise ReportUnreadable("pair", pair, "a pair of two assets")
        return Contract(Kind.SPOT, names.currency(first, "base"), names.currency(second, "quote"), second)

    def split(self, pair: str) -> tuple[str, str]:
        """Return base and quote of a pair. Raises ReportUnreadable with the candidates where they are not clear."""
        own = self._split(pair) if self._split is not None else None
        if own is not None:
            return own
        separated = _SEPARATED.fullmatch(pair)
        if separated is not None:
            return separated[1], separated[2]
        found = [(pair[: -len(quote)], quote) for quote in self._quotes if pair.endswith(quote) and pair != quote]
        if len(found) > 1 and len(found[0][1]) > len(found[1][1]) and found[0][1].endswith(found[1][1]):
            found = self._without_shorter(found)
        if len(found) == 1:
            return found[0]
        candidates = ", ".join(f"{base}/{quote}" for base, quote in found[:CANDIDATES_SHOWN_MAX])
        shown = f" ({candidates})" if found else ""
        rule = f"a pair whose assets are clear{shown}; state them: `--instrument {pair}=BASE/QUOTE`"
        raise ReportUnreadable("pair", pair, rule)

    def _without_shorter(self, found: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Leave the longest quote where the base before a shorter one is unknown: BTC/FDUSD, not BTCFD/USD."""
        longest = found[0]
        rest = [one for one in found[1:] if one[0] in self._quotes or one[0] in self._aliases]
        return [longest, *rest]


def oriented(first: str, second: str) -> tuple[str, str]:
    """Return two assets as base and quote of their pair, by the usual rank of quote assets; else as they are."""
    rank = _RANKS.get(first, len(_RANKS)), _RANKS.get(second, len(_RANKS))
    return (second, first) if rank[0] < rank[1] else (first, second)
