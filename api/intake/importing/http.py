"""Import of files over HTTP: an upload as it was downloaded, and what became of it.

The body is the file itself, of any media type; it is streamed to the disk and read from there. The id of an import is
a digest of the content, the account and what was stated about the file: sent again, it has the answer that it had,
unless rows were unreadable, which are then tried again.
"""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi import Path as InPath
from msgspec.structs import asdict
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from adapters.exchanges.files.times import DateOrder
from adapters.postgres.imports import KeptImport
from adapters.postgres.scopes import Caller
from api.clock import now
from api.daybook import Daybook
from api.encoding import encoded
from api.http.auth import Reader, Recorder
from api.http.dependencies import OpenDaybook, answer, documented
from api.http.fields import Name, Text
from api.http.problem_responses import responses
from api.intake.importing import schemas
from api.intake.importing.counts import ImportProgress, ImportSummary
from api.intake.importing.ingest import Stated, import_file
from api.problems import Problem, not_found
from domain.errors import InvalidInput, LedgerError

FILE_BYTES_MAX = 2**31
ID_CHARACTERS = 32
ORDERS = {"day-first": DateOrder.DMY, "month-first": DateOrder.MDY, "year-first": DateOrder.YMD}
RUNNING, DONE, FAILED = "RUNNING", "DONE", "FAILED"

router = APIRouter(prefix="/v1", tags=["imports"], responses=responses(401, 403, 413, 422, 429, 503))
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "the file as it was downloaded: CSV, XLSX, JSON, gzip or zip",
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "text/csv": {
                "schema": {"type": "string"},
                "examples": {
                    "a neutral file of fills": {
                        "value": "time,instrument,side,qty,price,fee,fee_asset,id\n"
                        "2026-01-02T03:04:05Z,BTC-EUR.KRAKEN,buy,0.01,60000,0.96,EUR,T-1\n"
                    }
                },
            },
        },
    }
}


@router.post(
    "/imports", status_code=201, response_model=schemas.ImportAnswer, openapi_extra=BODY,
    responses=documented(201, "imported; `unreadable` and `conflicting` rows are listed")
    | documented(200, "imported before, or a dry run", schemas.ImportAnswer),
)  # fmt: skip
async def import_export_file(
    request: Request,
    daybook: OpenDaybook,
    caller: Recorder,
    account_id: Annotated[Name, Query()] = "main",
    strategy_id: Annotated[Name, Query()] = "main",
    name: Annotated[Text, Query(description="the file's name: a zone or a currency in it is used")] = "upload",
    dates: Annotated[str | None, Query(pattern="^(day-first|month-first|year-first)$")] = None,
    instrument: Annotated[list[str] | None, Query(description="PAIR=BASE/QUOTE; may be repeated")] = None,
    is_dry_run: Annotated[bool, Query(description="read it, and record nothing")] = False,
) -> Response:
    """Import an export file of a venue. Sending it again adds nothing that is on record."""
    stated = Stated(ORDERS[dates] if dates else None, pairs_of(instrument or ()))
    with tempfile.TemporaryDirectory(prefix="daybook-import-") as folder:
        path = Path(folder) / "upload"
        with path.open("wb") as file:
            content = await _received(request, file)
        said = f"{account_id}|{strategy_id}|{name}|{dates}|{sorted(instrument or ())}|{is_dry_run}|{content}"
        import_id = hashlib.sha256(said.encode()).hexdigest()[:ID_CHARACTERS]
        uploaded = _Upload(daybook, caller, path, name=name, import_id=import_id)
        return await run_in_threadpool(uploaded.imported, account_id, strategy_id, stated, is_dry_run=is_dry_run)


@router.get("/imports/{import_id}", response_model=schemas.ImportAnswer, responses=responses(404))
def read_import(
    import_id: Annotated[Name, InPath()],
    daybook: OpenDaybook,
    caller: Reader,  # noqa: ARG001 (its scope is checked)
) -> Response:
    """Return what became of an import, while it runs and after."""
    kept = daybook.imports.get(import_id)
    if kept is None:
        raise not_found(f"import {import_id}", import_id=import_id)
    return _kept_answer(kept)


class _Upload:
    """A file that was uploaded, and its import."""

    def __init__(self, daybook: Daybook, caller: Caller, path: Path, name: str, import_id: str) -> None:
        self._daybook = daybook
        self._caller = caller
        self._path = path
        self._name = name
        self._id = import_id
        self._account_id = ""

    def imported(self, account_id: str, strategy_id: str, stated: Stated, *, is_dry_run: bool) -> Response:
        """Import the file unless it was; return the answer. Raises LedgerError."""
        self._account_id = account_id
        kept = None if is_dry_run else self._daybook.imports.get(self._id)
        if kept is not None and kept.status == DONE and b'"unreadable":0,' in kept.outcome:
            return _kept_answer(kept)
        try:
            summary = import_file(
                self._daybook.writer, self._path, account_id=account_id, strategy_id=strategy_id, now=now(),
                actor=self._caller.identity, stated=stated, name=self._name, is_dry_run=is_dry_run,
                on_progress=self._show,
            )  # fmt: skip
        except LedgerError as error:
            self._keep(FAILED, {"error": str(error)})
            raise
        outcome = self._outcome(DONE, _shown(summary))
        if not is_dry_run:
            self._keep(DONE, _shown(summary))
        return answer(outcome, seq=summary.seq, status=200 if is_dry_run else 201)

    def _show(self, progress: ImportProgress) -> None:
        self._keep(RUNNING, asdict(progress))

    def _outcome(self, status: str, found: dict[str, Any]) -> dict[str, Any]:
        known = {"import_id": self._id, "status": status, "account_id": self._account_id, "source": self._name}
        return known | found

    def _keep(self, status: str, found: dict[str, Any]) -> None:
        self._daybook.imports.put(
            self._id, account_id=self._account_id, name=self._name, status=status,
            outcome=encoded(self._outcome(status, found)), at=now(),
        )  # fmt: skip


def _shown(summary: ImportSummary) -> dict[str, Any]:
    return asdict(summary)


def _kept_answer(kept: KeptImport) -> Response:
    return Response(kept.outcome, media_type="application/json", headers={"Daybook-Seq": _seq_in(kept.outcome)})


def _seq_in(outcome: bytes) -> str:
    found = outcome.rpartition(b'"seq":')[2].rstrip(b"}")
    return found.decode() if found.isdigit() else "0"


async def _received(request: Request, file: IO[bytes]) -> str:
    """Write the body to a file as it arrives; return the digest of it. Raises Problem if it is too large or empty."""
    digest, size = hashlib.sha256(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > FILE_BYTES_MAX:
            raise Problem(413, "http-413", "Content Too Large", f"a file of at most {FILE_BYTES_MAX} bytes")
        digest.update(chunk)
        await run_in_threadpool(file.write, chunk)
    return digest.hexdigest()


def pairs_of(given: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return the assets of pairs that are stated as PAIR=BASE/QUOTE. Raises InvalidInput."""
    found = {}
    for text in given:
        pair, _, assets = text.partition("=")
        base, _, quote = assets.partition("/")
        if not (pair and base and quote):
            raise InvalidInput("instrument", text, "PAIR=BASE/QUOTE, such as 1000SATSUSDT=1000SATS/USDT")
        found[pair] = (base, quote)
    return found
