"""Amounts as they are shown to people: at the places of their currency, rounded half to even.

Fiat currencies have the minor units of ISO 4217, stablecoins those of their currency, other coins eight. What is
shorter is padded. Prices have at least the places of their currency and up to eight digits, quantities at most eight
places. JSON, CSV and Parquet have every digit.
"""

import re
from decimal import Decimal

from domain.values import PLACES_MAX, PositionSide, rounded

COIN_PLACES = 8
PRICE_DIGITS = 8
# ISO 4217: the currencies of 0, 3 and 4 minor units, and those of 2.
NO_PLACES = frozenset(re.findall("...", "BIFCLPDJFGNFISKJPYKMFKRWPYGRWFUGXUYIVNDVUVXAFXOFXPF"))
THREE_PLACES = frozenset(re.findall("...", "BHDIQDJODKWDLYDOMRTND"))
FOUR_PLACES = frozenset(re.findall("...", "CLFUYW"))
TWO_PLACES = frozenset(
    re.findall(
        "...",
        "AEDAFNALLAMDANGAOAARSAUDAWGAZNBAMBBDBDTBGNBMDBNDBOBBRLBSDBTNBWPBYNBZDCADCDFCHFCNYCOPCRCCUPCVECZKDKKDOPDZDEGP"
        "ERNETBEURFJDFKPGBPGELGHSGIPGMDGTQGYDHKDHNLHTGHUFIDRILSINRIRRJMDKESKGSKHRKPWKYDKZTLAKLBPLKRLRDLSLMADMDLMGAMKD"
        "MMKMNTMOPMRUMURMVRMWKMXNMYRMZNNADNGNNIONOKNPRNZDPABPENPGKPHPPKRPLNQARRONRSDRUBSARSBDSCRSDGSEKSGDSHPSLESOSSRD"
        "SSPSTNSVCSYPSZLTHBTJSTMTTOPTRYTTDTWDTZSUAHUSDUYUUZSVEDVESWSTXCDYERZARZMWZWG",
    )
)
STABLECOINS = frozenset(("BUSD", "DAI", "EURC", "EURI", "EURT", "FDUSD", "GUSD", "PYUSD", "RLUSD", "TUSD", "USDC",
                         "USDE", "USDP", "USDS", "USDT", "USD1"))  # fmt: skip
PLACES: dict[str, int] = (
    dict.fromkeys(NO_PLACES, 0)
    | dict.fromkeys(THREE_PLACES, 3)
    | dict.fromkeys(FOUR_PLACES, 4)
    | dict.fromkeys(TWO_PLACES | STABLECOINS, 2)
)


def places_of(asset: str) -> int:
    """Return the decimal places at which amounts of an asset are shown."""
    return PLACES.get(asset, COIN_PLACES)


def with_leg(instrument_id: str, position_side: str) -> str:
    """Return an instrument with the leg of hedge mode, if it is one."""
    return instrument_id if position_side == PositionSide.BOTH else f"{instrument_id} {position_side}"


def amount(value: Decimal, asset: str) -> str:
    """Return an amount at its asset's places, its thousands grouped; of a contract its number, not padded."""
    if "." in asset:  # the contracts of a derivative
        return quantity(value)
    places = places_of(asset)
    return _without_sign_of_zero(f"{rounded(value, places):,.{places}f}")


def price(value: Decimal, currency: str) -> str:
    """Return a price: eight digits after leading zeros, and at least the places of its currency."""
    least = places_of(currency) if places_of(currency) < COIN_PLACES else 0
    places = min(max(least, PRICE_DIGITS - 1 - value.adjusted()), PLACES_MAX) if value else least
    shown = f"{rounded(value, places):,.{places}f}"
    whole, point, part = shown.partition(".")
    part = part.rstrip("0").ljust(least, "0")
    return f"{whole}{point}{part}" if part else whole


def quantity(value: Decimal) -> str:
    """Return a quantity with at most eight places."""
    shown = f"{rounded(value, COIN_PLACES):,f}"
    shown = shown.rstrip("0").rstrip(".") if "." in shown else shown
    return _without_sign_of_zero(shown)


def _without_sign_of_zero(text: str) -> str:
    return text.lstrip("-") if not text.strip("-0.,") else text
