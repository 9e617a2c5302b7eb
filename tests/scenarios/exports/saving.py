"""The ways in which people save a file: delimiters, quotes, line ends, encodings, what is around the table, packing."""

import csv
import gzip
import io
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from hypothesis import strategies as st


class Saved(NamedTuple):
    """One way. `blanks` are empty lines above the header, `is_repeated` has the header again in the middle."""

    delimiter: str
    line_end: str
    encoding: str
    is_quoted: bool
    blanks: int
    is_repeated: bool
    packing: str


ways = st.builds(
    Saved,
    delimiter=st.sampled_from((",", ";", "\t")),
    line_end=st.sampled_from(("\n", "\r\n", "\r")),
    encoding=st.sampled_from(("utf-8", "utf-8-sig", "utf-16", "latin-1")),
    is_quoted=st.booleans(),
    blanks=st.integers(0, 2),
    is_repeated=st.booleans(),
    packing=st.sampled_from(("", "gz", "zip")),
)
AS_IT_CAME = Saved(",", "\n", "utf-8", is_quoted=False, blanks=0, is_repeated=False, packing="")


def save(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]], way: Saved = AS_IT_CAME) -> Path:
    """Save a table near `path`, and return where."""
    text = io.StringIO()
    quoting = csv.QUOTE_ALL if way.is_quoted else csv.QUOTE_MINIMAL
    out = csv.writer(text, delimiter=way.delimiter, lineterminator=way.line_end, quoting=quoting)
    text.write(way.line_end * way.blanks)
    out.writerow(header)
    middle = len(rows) // 2
    out.writerows(rows[:middle])
    if way.is_repeated and middle:
        out.writerow(header)
    out.writerows(rows[middle:])
    content = text.getvalue().encode(way.encoding)
    if way.packing == "gz":
        path = path.with_suffix(".csv.gz")
        path.write_bytes(gzip.compress(content))
    elif way.packing == "zip":
        path = path.with_suffix(".zip")
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("export.csv", content)
    else:
        path.write_bytes(content)
    return path
