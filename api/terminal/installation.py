"""Whether the installed files are Daybook's own, checked before any other module is imported.

A wheel's RECORD has the digest of every file in it. Another distribution that brings a file of the same name replaces
ours without a word from pip: it shows as a digest that differs. Code that *means* harm is not stopped by this, since a
package that is imported can do all that we can; see docs/security.md.
"""

import json
import sys
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

PACKAGE = "daybook"
EXIT_CHANGED = 1
NAMED_MAX = 3


def refuse_changed_files() -> None:
    """Exit with a sentence on stderr if an installed file was replaced, removed or added."""
    if not __name__.startswith(f"{PACKAGE}."):
        return  # a checkout: there is nothing installed
    top = Path(__file__).parents[__name__.count(".")]
    if found := sorted(changed(top)):
        sys.stderr.write(_refusal(found, top, is_json="--json" in sys.argv) + "\n")
        sys.exit(EXIT_CHANGED)


def changed(top: Path) -> Iterator[str]:
    """Yield the files of the package in `top` that are not as installed, and modules that no installed wheel named.

    Nothing where the installer kept no record of `daybook` in `top`. A compiled file is not recorded: Python makes it.
    """
    try:
        installed = distribution(PACKAGE)
    except PackageNotFoundError:
        return
    recorded = {}
    for file in installed.files or ():
        if file.parts[0] == PACKAGE and file.hash is not None:
            recorded[file.as_posix()] = file.hash.value
    if Path(str(installed.locate_file(PACKAGE))).resolve() != top.joinpath(PACKAGE).resolve() or not recorded:
        return
    for name, digest in recorded.items():
        try:
            content = (top / name).read_bytes()
        except OSError:
            yield name
        else:
            if sha256(content).digest() != urlsafe_b64decode(digest + "=" * (-len(digest) % 4)):
                yield name
    for module in top.joinpath(PACKAGE).rglob("*.py"):
        if (name := module.relative_to(top).as_posix()) not in recorded:
            yield name


def _refusal(found: list[str], top: Path, *, is_json: bool) -> str:
    more = f" and {len(found) - NAMED_MAX} more" if len(found) > NAMED_MAX else ""
    detail = (
        f"{', '.join(found[:NAMED_MAX])}{more} in {top} {'are' if len(found) > 1 else 'is'} not as installed: another "
        "package or a person has changed Daybook's code; install it again, in an environment of its own "
        "(pip install --force-reinstall --no-deps and the wheel)"
    )
    if not is_json:
        return f"error: {detail}"
    problem = {"type": "urn:daybook:problem:installation", "title": "Installation changed", "status": 500}
    return json.dumps(problem | {"detail": detail})
