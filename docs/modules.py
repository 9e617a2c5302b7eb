"""Writes docs/modules.md, what every folder and module holds, from their docstrings: `python docs/modules.py`."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "modules.md"
ROOMS = ("domain", "projections", "adapters", "api")
WITHOUT_MODULES = "adapters/postgres/migrations/versions"  # one file a revision: their numbers are their names


def page() -> str:
    """The whole page."""
    lines = [
        "# Modules",
        "",
        "What every folder and module of the four rooms holds: the first line of its docstring. This page is written",
        "by `python docs/modules.py`; a test fails when it is not current. How the rooms fit together is in",
        "[architecture.md](architecture.md).",
    ]
    for room in ROOMS:
        for folder in _packages(ROOT / room):
            name = folder.relative_to(ROOT).as_posix()
            lines += ["", f"{'##' if name == room else '###'} {name}/", "", first_line(folder / "__init__.py")]
            lines += _table(folder) if name != WITHOUT_MODULES else []
    return "\n".join(lines) + "\n"


def first_line(module: Path) -> str:
    """The first line of a module's docstring. Raises ValueError where there is none."""
    docstring = ast.get_docstring(ast.parse(module.read_text()))
    if not docstring:
        raise ValueError(f"{module.relative_to(ROOT)} has no docstring: begin it with one that states what it holds")
    return docstring.splitlines()[0]


def _packages(folder: Path) -> Iterator[Path]:
    yield folder
    for inner in sorted(folder.iterdir()):
        if (inner / "__init__.py").exists():
            yield from _packages(inner)


def _table(folder: Path) -> list[str]:
    modules = [module for module in sorted(folder.glob("*.py")) if module.name != "__init__.py"]
    rows = [f"| [{module.name}](../{module.relative_to(ROOT).as_posix()}) | {_cell(module)} |" for module in modules]
    return ["", "| module | what it holds |", "|---|---|", *rows] if rows else []


def _cell(module: Path) -> str:
    return first_line(module).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page())
