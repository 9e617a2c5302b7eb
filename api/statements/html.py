"""A statement as one HTML page, with style and charts inside; it prints well."""

import re
from datetime import datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from api.encoding import age_text, time_text
from api.statements import places
from api.statements.charts import Bar, Curve, bars, curve
from api.statements.statement import Statement, bases

TEMPLATES = Path(__file__).parents[1] / "web" / "templates"
MINUS, NONE = "\N{MINUS SIGN}", "\N{EN DASH}"
WIDTH, HEIGHT, LEFT, BOTTOM = 640, 150, 74, 18


@cache
def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    made.filters |= {
        "amount": amount, "signed": signed, "price": price, "quantity": quantity, "moment": moment, "age": age,
        "amounts": amounts, "tone": tone, "breakable": breakable,
    }  # fmt: skip
    return made


def amount(value: Decimal | None, asset: str) -> str:
    """Return an amount at its asset's places, with a true minus; a dash for None."""
    return NONE if value is None else places.amount(value, asset).replace("-", MINUS)


def signed(value: Decimal | None, asset: str) -> str:
    """Return the same with a plus sign above zero."""
    return amount(value, asset) if value is None or value <= 0 else f"+{amount(value, asset)}"


def price(value: Decimal | None, currency: str) -> str:
    """Return a price; a dash for None."""
    return NONE if value is None else places.price(value, currency)


def quantity(value: Decimal) -> str:
    """Return a quantity, with a true minus."""
    return places.quantity(value).replace("-", MINUS)


def breakable(name: str) -> Markup:
    """Return a name that a browser may break after its dots, dashes and underscores."""
    return Markup(re.sub(r"([._-])", r"\1<wbr>", str(escape(name))))  # noqa: S704 (escaped)


def age(age_ms: int | None) -> str:
    """Return the age of a mark; a dash for None."""
    return NONE if age_ms is None else age_text(age_ms)


def tone(value: Decimal | None) -> str:
    """Return the CSS class of a gain or loss."""
    return "" if not value else "gain" if value > 0 else "loss"


def moment(value: datetime | None) -> str:
    """Return a time to the second; a dash for None."""
    return NONE if value is None else time_text(value.replace(microsecond=0)).replace("T", " ").removesuffix("Z")


def amounts(value: dict[str, Decimal]) -> list[str]:
    """Return signed amounts by asset, one a line; a dash for none."""
    return [f"{signed(moved, asset)} {asset}" for asset, moved in sorted(value.items())] or [NONE]


def page(statement: Statement, *, digest: str, root: str, code: str) -> bytes:
    """Return the page. It names the report's digest, the Merkle root of the log and the version that made it."""
    period = statement.period
    first = datetime.fromisoformat(period.first).replace(tzinfo=period.end.tzinfo)
    curves = [(asset, _curve(curve(steps, first, period.end))) for asset, steps in statement.curves.items()]
    by_asset = []
    for asset in statement.curves:
        values = [(row["instrument_id"] or "account", row["net"]) for row in statement.by_instrument
                  if row["asset"] == asset]  # fmt: skip
        by_asset.append((asset, _bars(*bars(values), asset=asset)))
    shown: dict[str, Any] = {
        "statement": statement, "digest": digest, "code": code, "curves": curves, "bars": by_asset,
        "bases": bases(statement.seq, root, has_positions=bool(statement.positions)),
    }  # fmt: skip
    return _templates().get_template("statement.html").render(shown).encode()


def _curve(drawn: Curve) -> Markup:
    """Draw a step line with its axes, as SVG."""
    right, top = WIDTH - 20, 8
    bottom = HEIGHT - BOTTOM

    def x(place: float) -> float:
        return round(LEFT + place * (right - LEFT), 1)

    def y(place: float) -> float:
        return round(bottom - place * (bottom - top), 1)

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    for tick in drawn.levels:
        line = "zero" if abs(tick.place - drawn.zero) < 1e-9 else "grid"
        parts.append(f'<line class="{line}" x1="{LEFT}" x2="{right}" y1="{y(tick.place)}" y2="{y(tick.place)}"/>')
        label = tick.label.replace("-", MINUS)
        parts.append(f'<text class="level" x="{LEFT - 8}" y="{y(tick.place) + 3.5}">{label}</text>')
    parts += [f'<text class="time" x="{x(tick.place)}" y="{HEIGHT - 4}">{tick.label}</text>' for tick in drawn.times]
    points = " ".join(f"{x(px)},{y(py)}" for px, py in drawn.points)
    area = f"{x(0)},{y(drawn.zero)} {points} {x(1)},{y(drawn.zero)}"
    parts.append(f'<polygon class="area" points="{area}"/><polyline class="line" points="{points}"/></svg>')
    return Markup("".join(parts))  # noqa: S704 (only our own numbers, no text of others)


def _bars(drawn: list[Bar], zero: float, asset: str) -> Markup:
    """Draw horizontal bars with their values, as SVG."""
    left, right, row = 170, WIDTH - 180, 20

    def x(place: float) -> float:
        return round(left + place * (right - left), 1)

    parts = [Markup('<svg viewBox="0 0 {} {}" role="img">').format(WIDTH, row * len(drawn) + 4)]
    for place, bar in enumerate(drawn):
        y = place * row + 2
        kind = "gain" if bar.value > 0 else "loss"
        parts.append(Markup('<text class="name" x="{}" y="{}">{}</text>').format(left - 10, y + 13, bar.label))
        parts.append(
            Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}" rx="1.5"/>').format(
                kind, x(bar.start), y + 3, max(round(x(bar.end) - x(bar.start), 1), 1), row - 7
            )
        )
        value = signed(bar.value, asset)
        parts.append(Markup('<text class="value" x="{}" y="{}">{}</text>').format(WIDTH - 4, y + 13, value))
    parts.append(
        Markup('<line class="zero" x1="{0}" x2="{0}" y1="0" y2="{1}"/></svg>').format(x(zero), row * len(drawn) + 4)
    )
    return Markup("").join(parts)
