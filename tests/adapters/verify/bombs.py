"""Zips made to cost the person who verifies them time or memory, each signed where a signature gets it further."""

import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal as D
from functools import cache
from pathlib import Path

import msgspec
from msgspec.structs import replace

from domain.account import AccountOpened, Costing
from domain.ledger import Recorded, schema
from domain.order import OrderKey, OrderSuspended
from domain.values import Money
from tests import samples
from tests.adapters.verify.stranger import Parts, desk_states, many_keys, signed, with_sizes, zipped
from tests.records import record

TRADE = next(each.event for each in samples.RECORDS if schema.topic_of(each.event) == "TradeBooked.v3")
MEGABYTE = 2**20


def recorded(event: object, stream: str = "position:main:trend:X.SIM", version: int = 1) -> bytes:
    """An event as it is stored."""
    return schema.encode(Recorded(stream, version, samples.AT, "m", "r", event))


@cache
def honest() -> Parts:
    return signed(desk_states())


def with_number(number: str) -> Parts:
    """A signed trade of this quantity."""
    state = recorded(replace(TRADE, effect=replace(TRADE.effect, quantity=D("7.654321"))))
    assert b"7.654321" in state
    return signed([state.replace(b"7.654321", number.encode())])


def with_manifest(**changed: object) -> Parts:
    manifest = json.loads(honest()["manifest.json"]) | changed
    return honest() | {"manifest.json": json.dumps(manifest).encode()}


def nested(depth: int = 200_000) -> bytes:
    return b"[" * depth + b"]" * depth


def blank_lines() -> Parts:
    """The 7 kB that took 30 seconds: as many empty events as a checkpoint claims."""
    return signed([b"x"], size=5_500_000) | {"events.jsonl": b"\n" * 5_500_000, "leaves.bin": b""}


def blank_lines_within() -> Parts:
    """As many as fit below the limit of what may be unpacked."""
    return signed([b"x"], size=4_100_000) | {"events.jsonl": b"\n" * 4_100_000, "leaves.bin": b""}


def empty_lists() -> Parts:
    """The 257 kB that took 2.6 GB: a manifest of nothing but lists."""
    return honest() | {"manifest.json": b'{"format":"daybook-bundle/1","x":[' + b"[]," * 20_000_000 + b"[]]}"}


def random_bytes(count: int) -> bytes:
    """Bytes that do not compress, always the same."""
    import random

    return random.Random(1).randbytes(count)


def one_long_line() -> Parts:
    """A signed event of as many lots as fit."""
    lots = TRADE.effect.opened * 25_000
    return signed([recorded(replace(TRADE, effect=replace(TRADE.effect, opened=lots)))])


def long_padded_line() -> Parts:
    """The same in a larger file, which may unpack to more."""
    lots = TRADE.effect.opened * 100_000
    return signed([recorded(replace(TRADE, effect=replace(TRADE.effect, opened=lots)))]) | {
        "padding": random_bytes(MEGABYTE)
    }


def many_positions() -> Parts:
    """As many signed events as a file can prove, each of a position of its own that pays in its own currency."""
    return signed([
        recorded(
            replace(TRADE, key=replace(TRADE.key, strategy_id=f"s{n}"), commission=Money(D(1), f"C{n % 4000}")),
            f"position:main:s{n}:X.SIM",
        )
        for n in range(6000)
    ])  # fmt: skip


def slow_to_decide() -> Parts:
    """Thousands of reports of one order, each earlier than the one before, so that each has all breaks found again."""
    key, began = OrderKey("main", "A-1"), samples.AT
    reports = [
        OrderSuspended(key=key, reason="halted", transact_time=began - timedelta(seconds=n), exec_id=f"S{n}")
        for n in range(4000)
    ]
    opened = AccountOpened("main", "USDT", Costing(), began)
    return signed([
        recorded(opened, "account:main"), *(recorded(each, "order:main:A-1", n) for n, each in enumerate(reports, 1))
    ])  # fmt: skip


def many_currencies() -> Parts:
    """One position whose every trade pays its fee in another currency."""
    return signed([
        recorded(replace(TRADE, commission=Money(D(1), f"C{n}")), version=n + 1) for n in range(6000)
    ])  # fmt: skip


def long_proofs() -> Parts:
    states = desk_states()
    line = json.dumps({"seq": 1, "proof": ["A" * 43 + "="] * 80_000}).encode() + b"\n"
    return signed(states, seqs=[1]) | {"proofs.jsonl": line}


def repeated_events() -> Parts:
    """One proved event over and over."""
    parts = signed(desk_states(), seqs=[7])
    manifest = json.loads(parts["manifest.json"]) | {"events": 5000}
    return {
        **parts, "manifest.json": json.dumps(manifest).encode(), "padding": random_bytes(200_000),
        "events.jsonl": parts["events.jsonl"] * 5000, "proofs.jsonl": parts["proofs.jsonl"] * 5000,
    }  # fmt: skip


def deep_event() -> Parts:
    return signed([b'{"stream":"s","version":1,"recorded_at":"2026-01-01T00:00:00Z","event":' + nested() + b"}"])


def naive_times() -> Parts:
    one = msgspec.json.encode({"stream": "s", "version": 1, "recorded_at": "2026-01-01T00:00:00", "event": {}})
    return signed([schema.encode(record("account:a", 1)), one])


PARTS: dict[str, Callable[[], Parts]] = {
    "blank lines": blank_lines,
    "blank lines within the limit": blank_lines_within,
    "empty lists": empty_lists,
    "one long line": one_long_line,
    "one longer line": long_padded_line,
    "many positions": many_positions,
    "slow to decide": slow_to_decide,
    "many currencies": many_currencies,
    "many keys": lambda: honest() | {"keys.json": many_keys(5500), "padding": random_bytes(MEGABYTE)},
    "too many keys": lambda: honest() | {"keys.json": many_keys(10_000), "padding": random_bytes(MEGABYTE)},
    "long proofs": long_proofs,
    "repeated events": repeated_events,
    "deep event": deep_event,
    "naive times": naive_times,
    "deep manifest": lambda: honest() | {"manifest.json": nested(30_000)},
    "deep keys": lambda: honest() | {"keys.json": nested()},
    "deep proofs": lambda: signed(desk_states(), seqs=[1]) | {"proofs.jsonl": nested() + b"\n"},
    "exponent": lambda: with_number("1e999999999"),
    "small exponent": lambda: with_number("1e-999999999"),
    "not a number": lambda: with_number("NaN"),
    "hundred thousand digits": lambda: with_number("7" * 100_000),
    "huge version": lambda: signed([recorded(TRADE).replace(b'"version":1,', b'"version":' + b"1" * 100_000 + b",")]),
    "huge seq": lambda: (
        signed(desk_states(), seqs=[1]) | {"proofs.jsonl": b'{"seq":' + b"9" * 100_000 + b',"proof":[]}\n'}
    ),
    "events claimed": lambda: with_manifest(events=2**62, upto=2**62, tree_size=2**62),
    "events beyond 64 bits": lambda: with_manifest(events=10**40),
    "checkpoint claimed": lambda: signed(desk_states(), size=2**62),
    "checkpoint of many lines": lambda: honest() | {"checkpoint": b"x\n" * 2_000_000},
    "many parts": lambda: honest() | {f"p{n}": b"" for n in range(500)},
    "far too many parts": lambda: honest() | {f"p{n}": b"" for n in range(20_000)},
}


def bombs(directory: Path) -> Iterator[Path]:
    """Write all of them."""
    for name, parts in PARTS.items():
        yield zipped(directory / f"{name}.zip", parts())
    for name, method in (("bzip2", zipfile.ZIP_BZIP2), ("lzma", zipfile.ZIP_LZMA)):
        parts = honest() | {"manifest.json": bytes(4 * MEGABYTE)}
        yield zipped(directory / f"{name}.zip", parts, method)
    path = zipped(directory / "larger than declared.zip", honest() | {"manifest.json": b" " * 60 * MEGABYTE})
    yield with_sizes(path, "manifest.json", unpacked=1000)
    path = zipped(directory / "smaller than declared.zip", honest())
    yield with_sizes(path, "events.jsonl", unpacked=3 * MEGABYTE)
    yield overlapping(directory / "overlapping.zip")
    yield twice(directory / "twice.zip")


def overlapping(path: Path) -> Path:
    """Two parts of the directory that are the same bytes of the file."""
    zipped(path, honest() | {"second.bin": b""})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        events, start = file.getinfo("events.jsonl"), file.start_dir
    at = data.index(b"second.bin", start) - 46
    struct.pack_into("<III", data, at + 16, events.CRC, events.compress_size, events.file_size)
    struct.pack_into("<I", data, at + 42, events.header_offset)
    path.write_bytes(data)
    return path


def twice(path: Path) -> Path:
    """Two parts of one name."""
    zipped(path, honest() | {"keys.jsom": b"[]"})
    path.write_bytes(path.read_bytes().replace(b"keys.jsom", b"keys.json"))
    return path
