"""Build the wheel: the four rooms become subpackages of `daybook`, and their imports name them there.

In the repository a module is `domain.order`, in the wheel `daybook.domain.order`, because any other distribution may
bring a top-level `domain` and would overwrite ours or be imported in its place: docs/adr/0025-one-package.md.
Only the words that name a module in an import are changed; lines, and so tracebacks, stay as they are. An editable
install leaves the rooms where they are, and gets the entry point alone.
"""

import ast
import importlib.util
import tempfile
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PACKAGE = "daybook"
ROOMS = frozenset({"domain", "projections", "adapters", "api"})

INIT = (
    '"""Daybook, the book of record for a crypto trading desk: its packages, and its command line in `__main__`."""\n'
)
MAIN = '''"""The command line: `python -m daybook`, and the command `daybook`."""

from {within}api.terminal.installation import refuse_changed_files


def main() -> None:
    """Check the installed files, then run the command line of this process, and exit."""
    refuse_changed_files()

    from {within}api.cli import main as run  # nothing else of Daybook is imported before the check

    run()


if __name__ == "__main__":
    main()
'''


class Unmovable(Exception):
    """A module names one of ours in a way that cannot be rewritten."""


class WheelHook(BuildHookInterface[BuilderConfig]):
    """Adds `daybook/__init__.py` and `__main__.py`, and replaces each module by its rewritten form. Adds
    `release.json`, which states what was built; to a source distribution only that.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Write the files into a temporary folder and have the builder take them from there."""
        self._written = tempfile.TemporaryDirectory(prefix="daybook-wheel-")
        is_editable = version == "editable"
        release = release_module()
        stated = release.document(release.of_sources(Path(self.root)))
        if self.target_name == "sdist":
            file = Path(self._written.name, release.FILE)
            file.write_text(stated, encoding="utf-8", newline="")
            build_data["force_include"][str(file)] = release.FILE
            return
        main = MAIN.format(within="" if is_editable else f"{PACKAGE}.")
        placed = {f"{PACKAGE}/__init__.py": INIT, f"{PACKAGE}/__main__.py": main}
        if not is_editable:
            placed[f"{PACKAGE}/py.typed"] = ""
            placed[f"{PACKAGE}/{release.FILE}"] = stated
            for file in self.build_config.builder.recurse_selected_project_files():
                if file.path.endswith(".py"):
                    placed[file.distribution_path] = moved(Path(file.path).read_bytes(), file.relative_path).decode()
        for number, (target, text) in enumerate(placed.items()):
            source = Path(self._written.name, str(number))
            source.write_text(text, encoding="utf-8", newline="")
            build_data["force_include_editable" if is_editable else "force_include"][str(source)] = target

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002
        """Remove the temporary folder."""
        self._written.cleanup()


def release_module() -> ModuleType:
    """Return the module that computes what is built, loaded by its place: the rooms may not be importable here."""
    place = Path(__file__).parent / "adapters" / "release.py"
    spec = importlib.util.spec_from_file_location("daybook_release", place)
    assert spec is not None, "a file of ours"
    assert spec.loader is not None, "a file of ours"
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def moved(source: bytes, name: str) -> bytes:
    """Return a module's source whose imports of the rooms name them below `daybook`. Raises Unmovable."""
    lines = source.splitlines(keepends=True)
    tree = ast.parse(source, name)
    edits: list[tuple[int, int, str, str]] = []
    composed = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        match node:
            case ast.ImportFrom(module=str(module), level=0) if _is_ours(module):
                edits.append((node.lineno, node.col_offset, f"from {module}", f"from {PACKAGE}.{module}"))
            case ast.Import(names=aliases) if any(_is_ours(alias.name) for alias in aliases):
                if len(aliases) > 1 or (aliases[0].asname is None and "." in aliases[0].name):
                    raise Unmovable(f"{name}:{node.lineno}: write `from {aliases[0].name} import …`")
                ours = aliases[0].name
                after = f"import {PACKAGE}.{ours}" if aliases[0].asname else f"from {PACKAGE} import {ours}"
                edits.append((node.lineno, node.col_offset, f"import {ours}", after))
            case ast.Constant(value=str(text)) if _is_module_name(text) and id(node) not in composed:
                raise Unmovable(
                    f"{name}:{node.lineno}: {text!r} is a module's name only in the repository; take the name from a "
                    f"module's __name__, or write f'{{top}}{text}' with top = __name__.rpartition('ROOM.')[0]"
                )
    for line, column, before, after in sorted(edits, reverse=True):  # from the last: columns before it stay
        written, end = lines[line - 1], column + len(before)
        if written[column:end] != before.encode():
            raise Unmovable(f"{name}:{line}: write this import on one line, with single spaces")
        lines[line - 1] = written[:column] + after.encode() + written[end:]
    return b"".join(lines)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in ROOMS


def _is_module_name(text: str) -> bool:
    """Whether a text is the dotted name of one of our modules, as a look-up by name would need."""
    room, dot, rest = text.partition(".")
    if room not in ROOMS or not dot or not all(part.isidentifier() for part in rest.split(".")):
        return False
    place = Path(__file__).parent.joinpath(*text.split("."))
    return place.is_dir() or place.with_suffix(".py").is_file()
