"""Plain-text accounting: the journal in the formats of hledger and beancount, with every balance asserted at the end.

Both tools check that entries balance and that accounts end with the balances of our ledger. A transaction is dated
by its value date; amounts are written with every digit. Accounts are ROOT:account_id:…, those of a position end in
strategy and instrument, those of other money in `Account:Cash`; none has another below it.

hledger takes our names as they are, but for a colon in one, which would divide it: it is written `%3A`, as in the name
of a stream, and one of two blanks in a row `%20`. Commodities that are not plain letters are quoted. beancount wants
accounts of letters, digits and dashes that begin with a capital or digit, and commodities that begin with a letter (or
a slash, `/1INCH`): such names are changed, and the true name is metadata of the `open` or `commodity` directive.
beancount adds with 28 digits: a sum that has more is refused, as it would come out rounded.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date, timedelta
from decimal import Decimal

from api.parameters import Format
from api.problems import Problem
from domain.names import part
from domain.values import ZERO, PositionSide
from projections.models.bookkeeping import ASSETS
from projections.models.journal import JournalEntryRow, JournalLine, LedgerRow

BEANCOUNT_DIGITS_MAX = 28
CASH = "Account:Cash"  # of no position: a leaf, as tools count what is below an account as its own
OPENED = "1970-01-01"  # before any value date there can be


def export(form: Format, entries: Iterable[JournalEntryRow], ledger: list[LedgerRow], about: str) -> Iterator[str]:
    """Yield the journal as text: `entries` in order, then the balances of `ledger` asserted. Raises Problem."""
    return hledger(entries, ledger, about) if form is Format.HLEDGER else beancount(entries, ledger, about)


def account_name(
    account_id: str, account: str, strategy_id: str | None, instrument_id: str | None, position_side: str | None = None
) -> str:
    """Return a ledger account's full name: `Assets:main:BINANCE`, `Equity:main:Trading:trend:BTCUSDT.BINANCE`.

    Of a leg of hedge mode: `Equity:main:Trading:trend:BTCUSDT.BINANCE-LONG`, beside that of one-way trading.
    """
    root, _, rest = account.partition(":")
    holder = _part(account_id)
    if root == ASSETS:
        return f"{root}:{holder}:{rest}"
    leg = f"-{position_side}" if position_side not in (None, "", PositionSide.BOTH) else ""
    of = f"{_part(strategy_id or '')}:{_part(instrument_id)}{leg}" if instrument_id else CASH
    return f"{root}:{holder}:{rest}:{of}"


def _part(name: str) -> str:
    """Return a name as a part of an account's: two different names are two different parts."""
    return part(name).replace("  ", " %20")


def _name_of(row: JournalEntryRow | LedgerRow, line: JournalLine | LedgerRow) -> str:
    return account_name(
        row["account_id"], line["account"], row["strategy_id"], row["instrument_id"],
        position_side=row["position_side"],
    )  # fmt: skip


def _balances(ledger: list[LedgerRow]) -> list[tuple[str, str, Decimal]]:
    return sorted((_name_of(row, row), row["asset"], row["balance"]) for row in ledger)


def hledger(entries: Iterable[JournalEntryRow], ledger: list[LedgerRow], about: str) -> Iterator[str]:
    """Yield text for hledger 1.25 and later; `check --strict` passes."""
    balances = _balances(ledger)
    yield f"; {_one_line(about)}\n\ndecimal-mark .\n"
    yield "".join(f"commodity {_quoted(asset)}\n" for asset in sorted({asset for _, asset, _ in balances}))
    yield "".join(f"account {name}\n" for name in sorted({name for name, _, _ in balances}))
    last = OPENED
    for row in entries:
        last = max(last, row["value_date"])
        booked = "" if row["booking_date"] == row["value_date"] else f"={row['booking_date']}"
        description = _one_line(f"{row['kind']} {row['narrative']}").strip()
        lines = "".join(f"    {_name_of(row, line)}  {_amount(line, _quoted)}\n" for line in row["lines"])
        about_it = f"({_code(row['reference'])}) {description}  ; seq:{row['entry_seq']}"
        yield f"\n{row['value_date']}{booked} * {about_it}\n{lines}"
    if balances:
        yield f"\n{last} * balances as the book has them\n"
    for name, asset, balance in balances:
        yield f"    {name}  0 {_quoted(asset)} = {balance:f} {_quoted(asset)}\n"


def beancount(entries: Iterable[JournalEntryRow], ledger: list[LedgerRow], about: str) -> Iterator[str]:
    """Yield text for beancount 3. Raises Problem where 28 digits are too few."""
    balances = _balances(ledger)
    accounts = _distinct((name for name, _, _ in balances), _legal_account)
    assets = _distinct((asset for _, asset, _ in balances), _legal_commodity)
    yield f';; {_one_line(about)}\noption "title" "Daybook"\n\n'
    for asset, legal in assets.items():
        yield f'{OPENED} commodity {legal}\n  name: "{asset}"\n'
    for name, legal in accounts.items():
        yield f'{OPENED} open {legal}\n  name: "{name}"\n'
    sums: dict[tuple[str, str], Decimal] = {}
    last = OPENED
    for row in entries:
        last = max(last, row["value_date"])
        yield (
            f'\n{row["value_date"]} * "{row["kind"]}" "{_escaped(row["narrative"])}"\n'
            f'  seq: {row["entry_seq"]}\n  reference: "{_escaped(row["reference"])}"\n'
            f"  booking_date: {row['booking_date']}\n"
        )
        for line in row["lines"]:
            place = _name_of(row, line), line["asset"]
            sums[place] = sums.get(place, ZERO) + line["amount"]
            _check_digits(*place, line["amount"], sums[place])
            yield f"  {accounts[place[0]]}  {_amount(line, assets.__getitem__)}\n"
    after = date.fromisoformat(last) + timedelta(days=1)
    yield "\n"
    for name, asset, balance in balances:
        yield f"{after.isoformat()} balance {accounts[name]}  {balance:f} {assets[asset]}\n"


def _check_digits(name: str, asset: str, *amounts: Decimal) -> None:
    for amount in amounts:
        if (digits := len(amount.as_tuple().digits)) > BEANCOUNT_DIGITS_MAX:
            raise Problem(
                409, "too-precise", "More digits than beancount adds",
                f"{name} totals {amount:f} {asset}, which has {digits} digits; beancount adds with "
                f"{BEANCOUNT_DIGITS_MAX} and would round it. Export to hledger, which is exact",
                account=name, asset=asset,
            )  # fmt: skip


def _amount(line: JournalLine, commodity: Callable[[str], str]) -> str:
    return f"{line['amount']:f} {commodity(line['asset'])}"


def _quoted(asset: str) -> str:
    return asset if re.fullmatch(r"[A-Za-z]+", asset) else f'"{asset}"'


def _code(reference: str) -> str:
    """Return a reference as hledger's code of a transaction, which ends at the first bracket."""
    return reference.replace("%", "%25").replace("(", "%28").replace(")", "%29")


def _one_line(text: str) -> str:
    """Return text allowed in an hledger description: no comment, no payee, no line break."""
    return re.sub(r"[\x00-\x1f\x7f;|]+", " ", text)


def _escaped(text: str) -> str:
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text).replace("\\", "\\\\").replace('"', '\\"')


def _legal_account(name: str) -> str:
    parts = [re.sub(r"[^A-Za-z0-9]", "-", each) for each in name.split(":")]
    return ":".join(each[0].upper() + each[1:] if each[:1].isalnum() else f"X{each}" for each in parts)


def _legal_commodity(asset: str) -> str:
    legal = re.sub(r"[^A-Z0-9'._-]", "-", asset.upper())
    if not legal[0].isalpha():
        legal = f"/{legal}" if re.search("[A-Z]", legal) else f"X-{legal}"
    return legal if legal[-1].isalnum() else f"{legal}X"


def _distinct(names: Iterable[str], legal: Callable[[str], str]) -> dict[str, str]:
    """Return a legal name for each, with a number where two would be the same."""
    used: set[str] = set()
    found = {}
    for name in sorted(set(names)):
        unique, number = legal(name), 1
        while unique in used:
            number += 1
            unique = f"{legal(name)}-{number}"
        used.add(unique)
        found[name] = unique
    return found
