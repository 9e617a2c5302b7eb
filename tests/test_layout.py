"""The layout of the four rooms and the words of the whole repository.

The first half checks size and place: entries in a folder, lines in a module and a function, names of neighbours, the
line that says what a folder holds. The second half refuses the words of `WORDS` in identifiers, docstrings, comments,
texts, templates and pages. `python -m tests.test_layout` prints every word refused, in the whole repository or in the
paths that are given to it.
"""

import ast
import enum
import re
import sys
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec
import pytest
from msgspec import Struct

from api.reports.contents import all_columns
from domain.ledger import schema
from projections.catalog import PROJECTIONS

ROOT = Path(__file__).parent.parent
ROOMS = ("domain", "projections", "adapters", "api")
ENTRIES_MAX = 16
API_ENTRIES_MAX = 22
MODULE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
POSITIONAL_MAX = 4
FOLDERS_DEEP_MAX = 2  # below a room: api/web/static
DOCSTRING_LINE_MAX = 120

VERSIONS = Path("adapters/postgres/migrations/versions")  # Alembic's: a file for each revision, never edited
DOORS = ("http", "cli")  # the two fronts of a subject: `restatement_http.py` beside `restatement.py`
PAIRS = {("positions", "positions_occurred")}  # one read model as recorded and as occurred


# ---- Size and place


def test_a_folder_has_few_entries():
    crowded = {}
    for folder in _folders():
        limit = API_ENTRIES_MAX if folder == ROOT / "api" else ENTRIES_MAX
        if len(entries := _entries(folder)) > limit:
            crowded[_path(folder)] = f"{len(entries)} entries, at most {limit}: give a subject a folder of its own"
    assert not crowded


def test_a_module_is_short():
    long = {_path(module): lines for module in _modules() if (lines := _lines(module)) > MODULE_LINES_MAX}
    assert not long, f"at most {MODULE_LINES_MAX} lines a module: split it by subject"


def test_a_function_is_short():
    long = {}
    for module in _modules():
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES_MAX:
                    long[f"{_path(module)}:{node.lineno} {node.name}"] = lines
    assert not long, f"at most {FUNCTION_LINES_MAX} lines a function, from `def` to its end: name its steps"


def test_a_call_names_the_arguments_beyond_four():
    trees = {module: ast.parse(module.read_text()) for module in _modules()}
    ours = set.difference(*({name for tree in trees.values() for name in found(tree)} for found in (_fixed, _variadic)))
    crowded = [
        f"{_path(module)}:{node.lineno} {name}"
        for module, tree in trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and len(node.args) > POSITIONAL_MAX
        and not isinstance(getattr(node.func, "value", None), ast.Call)  # a text's own format()
        and (name := ast.unparse(node.func).rpartition(".")[2]) in ours
        and not any(isinstance(arg, ast.Starred) for arg in node.args)
    ]
    assert not crowded, f"at most {POSITIONAL_MAX} arguments by position: name the others"


def _fixed(tree: ast.Module) -> Iterator[str]:
    """Functions with a fixed number of arguments, and classes whose instances are made from their fields."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name, args=ast.arguments(vararg=None)) | ast.ClassDef(name=name):
                yield name


def _variadic(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and node.args.vararg is not None:
            yield node.name


def test_folders_are_two_levels_deep_at_most():
    deep = [_path(folder) for folder in _folders() if len(folder.relative_to(ROOT).parts) - 1 > FOLDERS_DEEP_MAX]
    assert not deep, f"at most {FOLDERS_DEEP_MAX} levels of folders below a room"


def test_neighbours_differ_by_more_than_a_suffix():
    """Two modules of one folder do not differ by an ending alone: which of `order`, `orders`, `ordering` is it?

    An ending is some letters (`s`, `ing`) or `_word`. Allowed are the fronts of a subject, `x_http.py` and `x_cli.py`;
    the parts of `cli.py` by subject, `cli_x.py`; and `PAIRS`.
    """
    alike = []
    for folder in _folders():
        names = [entry.removesuffix(".py") for entry in _entries(folder)]
        pairs = ((one, other) for one in names for other in names if other != one and other.startswith(one))
        alike += [f"{_path(folder)}: {one}, {other}" for one, other in pairs if not _is_plain(one, other)]
    assert not alike, "name the modules for what each of them holds"


def _is_plain(one: str, other: str) -> bool:
    ending = other.removeprefix(one).lstrip("_")
    return (one, other) in PAIRS or one == "cli" or (other == f"{one}_{ending}" and ending in DOORS)


@pytest.mark.parametrize(
    ("one", "other", "is_plain"),
    [
        ("order", "orders", False),
        ("explain", "explaining", False),
        ("order", "order_state", False),
        ("restatement", "restatement_http", True),
        ("cli", "cli_tables", True),
        ("positions", "positions_occurred", True),
    ],
)
def test_names_that_differ_by_a_suffix_are_found(one, other, is_plain):
    assert _is_plain(one, other) is is_plain


def test_each_folder_says_in_one_line_what_lives_there():
    silent = {}
    for folder in _folders():
        init = folder / "__init__.py"
        if any(folder.rglob("*.py")) and not (
            init.exists() and _is_a_line(ast.get_docstring(ast.parse(init.read_text())))
        ):
            silent[_path(folder)] = (
                f"begin __init__.py with a docstring whose first line is a sentence of at most {DOCSTRING_LINE_MAX}"
            )
    assert not silent


def _is_a_line(docstring: str | None) -> bool:
    first = (docstring or "").split("\n\n")[0]
    return first.endswith(".") and "\n" not in first and len(first) <= DOCSTRING_LINE_MAX


def test_each_room_carries_its_types():
    for room in ROOMS:
        assert (ROOT / room / "py.typed").exists(), f"touch {room}/py.typed: the package is typed (PEP 561)"


def test_packages_of_api_import_nothing():
    """So that `daybook --help` loads neither the web framework nor the database's."""
    packages = [module for module in sorted((ROOT / "api").rglob("__init__.py")) if module.parent.name != "web"]
    imports = {
        _path(package): len(body) for package in packages if len(body := ast.parse(package.read_text()).body) > 1
    }
    assert not imports, "import the module that is meant, not its package"


def _folders() -> Iterator[Path]:
    for room in ROOMS:
        yield ROOT / room
        for folder in sorted((ROOT / room).rglob("*")):
            if folder.is_dir() and "__pycache__" not in folder.parts and folder != ROOT / VERSIONS and _entries(folder):
                yield folder


def _entries(folder: Path) -> list[str]:
    """The names of modules and folders; files that are no code do not count."""
    modules = [entry.name for entry in folder.glob("*.py") if entry.name != "__init__.py"]
    return sorted(
        modules + [entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name != "__pycache__"]
    )


def _modules() -> Iterator[Path]:
    for room in ROOMS:
        yield from sorted((ROOT / room).rglob("*.py"))


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())


def _path(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# ---- Words

REWORDED = (*ROOMS, "tests", "benchmarks", "docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile",
            "pyproject.toml", ".editorconfig", ".pre-commit-config.yaml")  # fmt: skip
KINDS = frozenset({".py", ".md", ".html", ".js", ".css", ".toml", ".yaml", ""})

# A pattern is matched over words in lower case: identifiers are split at underscores and capitals, lines are joined.
WORDS: dict[str, str] = {
    r"(?:un|re)?t(?:old|ell|ells|elling)": "return, show, report, state, name, record; of a replay: replayed",
    r"(?:un)?ask(?:ed|s|ing)|(?<!bid )(?<!bid / )ask(?! / bid)": "request, query, parameter; `ask` in bid/ask only",
    r"(?:take|takes|taken|taking|took)(?: \w+){0,3} down": "record",
    r"(?:mis|re|un)?judg(?:e|ed|es|ing|ement|ements|ment|ments)": "pre-trade check, check; what a check found",
    r"assessing|verdicts?": "monitoring; decision, outcome",
    r"who(?:m|so)?ever": "the caller, the client, any",
    r"whatever": "any, all that",
    r"(?:come|comes|coming|came) to|amount(?:s|ed) to": "equals, totals, result",
    r"anew": "again",
    r"older word for": "deprecated alias of",
    r"stretch(?:es)?": "range",
    r"examin(?:e|es|ed|ing)": "diagnose, diagnosis",
    r"heed(?:s|ed)?": "use, observe",
    r"(?:lay|lays|laid|laying)(?: \w+)? aside": "cache, skip; of the garbage collector: freeze",
    r"in (?:its|their) turn": "in order",
    r"(?:its|their|the unit ' s) grounds?": "base layer",
    r"(?:over|un)?(?:hear|hears|heard|hearing)": "receive",
    r"unread": "unreadable",
    r"at hand": "cached, in memory",
    r"nobody(?: else)?": "no process, no caller, no one",
    r"(?:any|every)body": "any caller, all",
    r"each other ' s": "one another's, or name the party",
}

ANSWERED = frozenset({"untold", "verdicts"})  # fields of what-if answers: clients read them, and none is renamed
OTHERS = frozenset({"tell", "nobody"})  # names others gave: a file's method, the unprivileged account of a system

CODE = re.compile(r"^(```|~~~).*?^\1|`[^`\n]+`", re.MULTILINE | re.DOTALL)
PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^A-Za-z]+")
BETWEEN = re.compile(r"[\s_#\d]*|\"\s+f?\"")  # what may stand between two words of a phrase


class Refused(NamedTuple):
    """A word that is refused, and where it stands."""

    path: str
    line: int
    word: str
    write: str

    def __str__(self) -> str:
        return f'{self.path}:{self.line}: "{self.word}"; write: {self.write}'


def test_words_are_those_of_the_trade():
    refused = [str(found) for path in _texts(REWORDED) for found in _refused(path)]
    assert not refused, "\n" + "\n".join(refused)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("order_told = TOLD", ["told", "told"]),
        ("class PnlAsked:", ["asked"]),
        ("row.asked, limit(asked=asked_for), `asked`", ["asked"]),
        ("best bid/ask, bid_ask, BidAsk", []),
        ("# it is taken\n# down", ["taken down"]),
        ("take the report down, down", ["take the report down"]),
        ("StatementTaken, downtime, background, task", []),
        ("each other's", ["each other ' s"]),
        ("It comes. To you", []),
    ],
)
def test_words_are_found(text, words):
    assert [word for _, word, _ in _found(text, "x.py")] == words


def test_old_names_may_be_quoted_in_the_changelog():
    assert not list(_found("`order_record` is now `order_record`", "CHANGELOG.md"))


def _refused(path: Path) -> Iterator[Refused]:
    name = _path(path)
    for line, word, write in _found(path.read_text(), name):
        yield Refused(name, line, word, write)


def _found(text: str, name: str) -> Iterator[tuple[int, str, str]]:
    if name == "CHANGELOG.md":  # quotes the names that were, to say what they are now
        text = CODE.sub(_blank, text)
    words, starts, places = _split(_stored().sub(_blank, text))
    for pattern, write in _patterns():
        for match in pattern.finditer(words):
            place = places[bisect_right(starts, match.start()) - 1]
            yield text.count("\n", 0, place) + 1, match[0], write


def _blank(match: re.Match[str]) -> str:
    return re.sub(r"[^\n]", "0", match[0])


def _split(text: str) -> tuple[str, list[int], list[int]]:
    """The words of a text in lower case, one space between; where each part begins there, and in the text."""
    parts, starts, places, length = [], [], [], 0
    for match in PARTS.finditer(text):
        part = match[0]
        if not part[0].isalpha():
            part = "" if BETWEEN.fullmatch(part) else re.sub(r"[\s\d_]+", " ", part).strip()
        if part:
            parts.append(part.lower())
            starts.append(length)
            places.append(match.start())
            length += len(part) + 1
    return " ".join(parts), starts, places


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    return [(re.compile(rf"(?<!\S)(?:{pattern})(?!\S)"), write) for pattern, write in WORDS.items()]


@cache
def _stored() -> re.Pattern[str]:
    """Names that are stored, where they stand as names: as an attribute, a keyword, a field, in quotes or backticks.

    Computed: the fields, topics and values of events, the columns of reports and of the tables of read models. The
    fields in `ANSWERED` and the names in `OTHERS` are added.
    """
    names = _names()
    plain = "|".join(sorted(name for name in names if re.fullmatch("[a-z]+", name)))
    composed = "|".join(sorted(re.escape(name) for name in names if not re.fullmatch("[a-z]+", name)))
    as_names = rf"(?<=[.`\"'])(?:{plain})\b|\b(?:{plain})(?=[`\"'=:]| = )"
    return re.compile(rf"\b(?:{composed})\b|{as_names}")


@cache
def _names() -> frozenset[str]:
    """Stored names with a word in them that is refused."""
    names = set(ANSWERED | OTHERS)
    for event in (*schema.NEWEST, *schema.OLDER):
        names.add(schema.topic_of_class(event))
        _add(event, names)
    names.update(all_columns())
    for projection in PROJECTIONS:
        for table in projection.all_tables:
            names.update(["".join(table.name), *("".join(column.name) for column in table.columns)])
    return frozenset(name for name in names if any(one.search(_split(name)[0]) for one, _ in _patterns()))


def _add(kind: Any, names: set[str]) -> None:
    """Add the names of fields and of values in a type, down to its parts."""
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        names.update(str(member.value) for member in kind)
    elif isinstance(kind, type) and issubclass(kind, Struct):
        for field in msgspec.structs.fields(kind):
            names.add(field.encode_name)
            _add(field.type, names)
    for member in get_args(kind):
        _add(member, names)


def _texts(paths: tuple[str, ...]) -> Iterator[Path]:
    for path in (ROOT / path for path in paths):
        files = sorted(path.rglob("*")) if path.is_dir() else [path] if path.exists() else []
        yield from (file for file in files if file.is_file() and _is_checked(file))


def _is_checked(file: Path) -> bool:
    """Whether a file's words are checked: not this one's, not pages written from code, not released revisions."""
    within = file.relative_to(ROOT)
    is_text = file.suffix in KINDS and "__pycache__" not in file.parts
    return is_text and file != Path(__file__) and within.as_posix() not in WRITTEN and VERSIONS not in within.parents


# from docstrings and comments, which are checked where they stand
WRITTEN = frozenset({"docs/errors.md", "docs/events.md", "docs/modules.md", "docs/reports.md", "docs/sql.md"})


def main(paths: list[str]) -> None:
    """Print every refused word, by file, and how often each is used."""
    total: Counter[str] = Counter()
    for path in _texts(tuple(paths) or REWORDED):
        if refused := sorted(_refused(path), key=lambda found: found.line):
            counts = Counter(found.word for found in refused)
            total.update(counts)
            _print(f"{_path(path)}: {_counted(counts)}")
            for found in refused:
                _print(f"  {found.line}: {found.word}; write: {found.write}")
    _print(f"all: {_counted(total)}")
    _print(f"exempt, because stored: {', '.join(sorted(_names()))}")


def _counted(counts: Counter[str]) -> str:
    return f"{counts.total()} ({', '.join(f'{word} {times}' for word, times in counts.most_common())})"


def _print(line: str) -> None:
    sys.stdout.write(line + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
