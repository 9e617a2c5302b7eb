"""Draws what imports what in each room, from the code, as docs/images/imports-ROOM.svg: `python docs/imports.py`.

A box is a module or folder, an arrow an import, from the importer down to the imported. A box stands one level above
the highest that it imports; one that imports nothing stands below its lowest importer. An arrow that follows from
others (a imports b, b imports c, so a may import c) is left out. Boxes that import each other in a circle share a
level, and their arrows are red.
"""

import itertools
from collections import defaultdict
from html import escape
from pathlib import Path
from typing import NamedTuple

import grimp

ROOT = Path(__file__).parent.parent
IMAGES = ROOT / "docs" / "images"
ROOMS = ("domain", "projections", "adapters", "api")
STEP, BOX, GAP, MARGIN = 84, 40, 22, 16  # from level to level, height of a box, between boxes, around the drawing
LETTER, LETTERS_MIN, PADDING = 8.2, 6, 26  # width of a letter, letters a box has room for, left and right of them
PASSES = 60
STYLE = """
  svg { background: #ffffff }
  text { font: 13.5px ui-monospace, 'DejaVu Sans Mono', Menlo, monospace; fill: #1f2328; text-anchor: middle }
  text.folder { font-weight: 600 }
  text.count { font-size: 10px; fill: #59636e }
  rect { fill: #f6f8fa; stroke: #8c959f }
  rect.folder { fill: #ddf4ff; stroke: #0969da }
  path.import { fill: none; stroke: #8c959f; stroke-width: 1.2 }
  path.circle { fill: none; stroke: #cf222e; stroke-width: 1.6 }
  #tip path { fill: #8c959f }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117 }
    text { fill: #e6edf3 }
    text.count { fill: #9198a1 }
    rect { fill: #161b22; stroke: #6e7681 }
    rect.folder { fill: #0c2d55; stroke: #4493f8 }
    path.import { stroke: #7d8590 }
    #tip path { fill: #7d8590 }
  }"""

TIP = (
    '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0 8 4 0 8Z"/></marker>'
)

Name = str | tuple[str, str, int]  # a box, or the place where a long arrow crosses a level


class Room(NamedTuple):
    """The boxes of a room with their number of modules (0: a module itself), and what imports what."""

    modules: dict[str, int]
    imports: dict[str, set[str]]


def drawings() -> dict[Path, str]:
    """Every drawing, by its path."""
    graph = grimp.build_graph(*ROOMS, cache_dir=None)
    return {IMAGES / f"imports-{room}.svg": _draw(room, read(graph, room)) for room in ROOMS}


def read(graph: grimp.ImportGraph, room: str) -> Room:
    """The imports between the modules and folders that stand directly in a room."""
    owner, modules = {}, {}
    for child in sorted(graph.find_children(room)):
        inner = graph.find_descendants(child)
        name = child.removeprefix(f"{room}.")
        is_folder = (ROOT / room / name).is_dir()
        packages = {module for module in inner | {child} if graph.find_children(module)}
        modules[name] = len(inner | {child}) - len(packages) if is_folder else 0
        owner |= dict.fromkeys(inner | {child}, name)
    imports: dict[str, set[str]] = {name: set() for name in modules}
    for module, name in owner.items():
        imported = graph.find_modules_directly_imported_by(module)
        imports[name] |= {owner[other] for other in imported if other in owner} - {name}
    return Room(modules, imports)


def reach(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """All that each imports, by any way."""
    reached = {name: set(direct) for name, direct in imports.items()}
    for middle in imports:
        for name in imports:
            if middle in reached[name]:
                reached[name] |= reached[middle]
    return reached


def levels(imports: dict[str, set[str]]) -> dict[str, int]:
    """How far above the bottom each stands; those in one circle stand at one level."""
    reached, level = reach(imports), dict.fromkeys(imports, 0)
    for _ in imports:
        for name in imports:
            ring = {other for other in reached[name] if name in reached[other]} | {name}
            below = {other for member in ring for other in imports[member]} - ring
            level[name] = 1 + max((level[other] for other in below), default=-1)
    for name in (name for name in imports if not imports[name]):
        level[name] = min((level[other] - 1 for other in imports if name in imports[other]), default=0)
    return level


def needed(imports: dict[str, set[str]]) -> list[tuple[str, str]]:
    """The imports that do not follow from others, and all those within a circle."""
    reached = reach(imports)
    pairs = [(name, other) for name in sorted(imports) for other in sorted(imports[name])]
    return [
        (name, other)
        for name, other in pairs
        if name in reached[other]
        or not any(other in reached[middle] and middle not in reached[other] for middle in imports[name])
    ]


def _draw(title: str, room: Room) -> str:
    level = levels(room.imports)
    edges = needed(room.imports)
    chains = [_chain(name, other, level) for name, other in edges]
    rows = _rows(level, chains)
    links = [pair for chain in chains for pair in itertools.pairwise(chain)]
    x = _across(rows, links)
    top = max(level.values())
    left = min(place - _width(name) / 2 for name, place in x.items()) - MARGIN
    width = max(place + _width(name) / 2 for name, place in x.items()) + MARGIN - left
    points = {
        name: (x[name] - left, MARGIN + BOX / 2 + (top - number) * STEP)
        for number, row in enumerate(rows)
        for name in row
    }
    height = 2 * MARGIN + BOX + top * STEP
    size = f'viewBox="0 0 {width:.0f} {height}" width="{width:.0f}" height="{height}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="Imports in {title}">',
        f"<style>{STYLE}\n</style>",
        TIP,
        *[_arrow([points[name] for name in chain], level[chain[0]] == level[chain[-1]]) for chain in chains],
        *[_box(name, *points[name], room.modules[name]) for name in sorted(room.modules)],
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _chain(name: str, other: str, level: dict[str, int]) -> list[Name]:
    """An arrow's way: its two boxes, and a place in each level between."""
    return [name, *((name, other, between) for between in range(level[name] - 1, level[other], -1)), other]


def _rows(level: dict[str, int], chains: list[list[Name]]) -> list[list[Name]]:
    """The levels from the bottom, each put so that few arrows cross: by the mean of its neighbours, up and down."""
    rows: list[list[Name]] = [
        sorted(name for name in level if level[name] == row) for row in range(max(level.values()) + 1)
    ]
    for chain in chains:
        for place in chain[1:-1]:
            rows[place[2]].append(place)
    links = [pair for chain in chains for pair in itertools.pairwise(chain)]
    number = {name: row for row, names in enumerate(rows) for name in names}
    best, fewest = rows, _crossings(rows, links)
    for turn in range(PASSES):
        rows = [list(row) for row in rows]
        for row in range(len(rows)) if turn % 2 else range(len(rows) - 1, -1, -1):
            side = -1 if turn % 2 else 1
            where = {name: place for names in rows for place, name in enumerate(names)}
            near = defaultdict(list)
            for one, other in links:
                for name, neighbour in ((one, other), (other, one)):
                    if number[name] == row and number[neighbour] == row + side:
                        near[name].append(where[neighbour] / max(len(rows[row + side]) - 1, 1))
            middle = {
                name: sum(near[name]) / len(near[name]) if near[name] else where[name] / max(len(rows[row]) - 1, 1)
                for name in rows[row]
            }
            rows[row].sort(key=lambda name: (middle[name], where[name]))
        if (crossings := _crossings(rows, links)) < fewest:
            best, fewest = rows, crossings
    return best


def _crossings(rows: list[list[Name]], links: list[tuple[Name, Name]]) -> int:
    where = {name: (row, place) for row, names in enumerate(rows) for place, name in enumerate(names)}
    ends = [(where[one], where[other]) for one, other in links]
    return sum(
        one[0][0] == other[0][0]
        and one[1][0] == other[1][0]
        and (one[0][1] - other[0][1]) * (one[1][1] - other[1][1]) < 0
        for one, other in itertools.combinations(ends, 2)
    )


def _across(rows: list[list[Name]], links: list[tuple[Name, Name]]) -> dict[Name, float]:
    """Each name's middle: as near to the mean of its neighbours as the boxes beside it let it be."""
    x: dict[Name, float] = {}
    for row in rows:
        offsets = _offsets(row)
        x |= {name: offset - offsets[-1] / 2 for name, offset in zip(row, offsets, strict=True)}
    near = defaultdict(list)
    for one, other in links:
        weight = 3 if isinstance(one, tuple) and isinstance(other, tuple) else 1  # long arrows are to be straight
        near[one] += [other] * weight
        near[other] += [one] * weight
    for turn in range(PASSES):
        for row in rows if turn % 2 else rows[::-1]:
            wanted = [
                sum(x[other] for other in near[name]) / len(near[name]) if near[name] else x[name] for name in row
            ]
            x |= dict(zip(row, _apart(wanted, _offsets(row)), strict=True))
    return x


def _offsets(row: list[Name]) -> list[float]:
    """Where the names of a row stand when each is as near to the one before as may be."""
    offsets = [0.0]
    for one, other in itertools.pairwise(row):
        offsets.append(offsets[-1] + (_width(one) + _width(other)) / 2 + GAP)
    return offsets


def _apart(wanted: list[float], offsets: list[float]) -> list[float]:
    """The places nearest to those wanted (least squares) that keep the row's distances: pooled neighbours."""
    pools: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        mean, count = want - offset, 1
        while pools and pools[-1][0] > mean:
            before, many = pools.pop()
            mean, count = (mean * count + before * many) / (count + many), count + many
        pools.append((mean, count))
    spread = [mean for mean, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(spread, offsets, strict=True)]


def _width(name: Name) -> float:
    return max(len(name), LETTERS_MIN) * LETTER + PADDING if isinstance(name, str) else 0


def _arrow(points: list[tuple[float, float]], is_circle: bool) -> str:
    """A smooth line from the lower edge of the first box to the upper edge of the last."""
    if is_circle:
        (x, y), (x2, _) = points
        y += BOX / 2
        return f'<path class="circle" d="M{x:.1f} {y:.1f}Q{(x + x2) / 2:.1f} {y + 30:.1f} {x2:.1f} {y:.1f}"/>'
    (x, y), d = points[0], ""
    y += BOX / 2
    d = f"M{x:.1f} {y:.1f}"
    for number, (x2, y2) in enumerate(points[1:], 1):
        is_last = number == len(points) - 1
        arrives = y2 - BOX / 2 - (1 if is_last else 0)
        middle = (y + arrives) / 2
        d += f"C{x:.1f} {middle:.1f} {x2:.1f} {middle:.1f} {x2:.1f} {arrives:.1f}"
        x, y = x2, arrives
        if not is_last:
            y = y2 + BOX / 2
            d += f"V{y:.1f}"
    return f'<path class="import" marker-end="url(#tip)" d="{d}"/>'


def _box(name: str, x: float, y: float, modules: int) -> str:
    kind = ' class="folder"' if modules else ""
    width = _width(name)
    text = escape(f"{name}/" if modules else name)
    box = f'<rect{kind} x="{x - width / 2:.1f}" y="{y - BOX / 2:.1f}" width="{width:.1f}" height="{BOX}" rx="6"/>'
    if not modules:
        return f'{box}<text x="{x:.1f}" y="{y + 4.5:.1f}">{text}</text>'
    count = f'<text class="count" x="{x:.1f}" y="{y + 13:.1f}">{modules} module{"s" if modules > 1 else ""}</text>'
    return f'{box}<text class="folder" x="{x:.1f}" y="{y:.1f}">{text}</text>{count}'


if __name__ == "__main__":
    for path, drawing in drawings().items():
        path.write_text(drawing)
