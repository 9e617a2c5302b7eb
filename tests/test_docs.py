"""The pages and drawings that are written from the code are current, and pages are wrapped."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
LINE_MAX = 120
PAGES = [*sorted(ROOT.glob("*.md")), *sorted(DOCS.rglob("*.md"))]


@pytest.mark.parametrize("name", ["errors", "events", "import", "modules", "reports", "requests", "sql"])
def test_a_page_written_from_the_code_is_current(name):
    assert _script(name).page() == (DOCS / f"{name}.md").read_text(), f"run `python docs/{name}.py`"


def test_the_drawings_of_the_imports_are_current():
    for path, drawing in _script("imports").drawings().items():
        assert path.read_text() == drawing, "run `python docs/imports.py`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_page_is_wrapped(page):
    """At 120 columns; tables, code and the targets of links may be longer."""
    long, is_code = [], False
    for number, line in enumerate(page.read_text().splitlines(), 1):
        is_code ^= line.lstrip().startswith("```")
        length = len(re.sub(r"\]\([^)]*\)", "]", line))
        if length > LINE_MAX and not is_code and not line.startswith("|"):
            long.append(f"{page.relative_to(ROOT)}:{number}: {length} columns, at most {LINE_MAX}")
    assert not long, "\n".join(long)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_link_of_a_page_leads_somewhere(page):
    text = re.sub(r"^ *```.*?^ *```|`[^`\n]+`", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target, anchor in re.findall(r"\]\(([^)#:\s]*)(?:#([^)\s]*))?\)", text):
        file = page.parent / target if target else page
        assert file.exists(), f"{page.relative_to(ROOT)} links to {target}"
        if anchor:
            assert anchor in _anchors(file.read_text()), f"{page.relative_to(ROOT)} links to {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_a_path_in_a_page_is_in_the_repository(page):
    named = re.findall(r"`((?:domain|projections|adapters|api|tests|docs|benchmarks)/[\w./-]*)`", page.read_text())
    gone = [path for path in named if not (ROOT / path).exists()]
    assert not gone, f"{page.relative_to(ROOT)} names paths that are not there: {', '.join(gone)}"


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_a_make_target_in_a_page_is_in_the_makefile(page):
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = set(re.findall(r"(?:^\$ |`)make ([a-z-]+)", (ROOT / page).read_text(), re.MULTILINE))
    assert named <= set(targets), f"{page} names {named - set(targets)}"


def _anchors(text: str) -> set[str]:
    """The anchors that GitHub makes of headings."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
