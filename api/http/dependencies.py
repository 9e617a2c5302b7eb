"""What an operation needs besides its body: the running Daybook, and an id for the request; and how it answers."""

import os
from collections.abc import Iterator
from typing import IO, Annotated, Any
from uuid import uuid4

from fastapi import Depends, Request
from starlette.responses import Response, StreamingResponse

from api.daybook import Daybook
from api.encoding import encoded
from domain import values
from domain.errors import InvalidInput

SEQ_HEADER = "Daybook-Seq"
REQUEST_ID_HEADER = "X-Request-Id"
CHUNK_BYTES = 2**18
SEQ_HEADERS = {SEQ_HEADER: {"description": "a place in the log that covers this answer", "schema": {"type": "integer"}}}


def request_id_of(given: str | None) -> str:
    """Return the caller's own id of the request if it is a name, else a new one."""
    try:
        return values.plain_name(given, REQUEST_ID_HEADER)
    except InvalidInput:
        return uuid4().hex


async def _daybook(request: Request) -> Daybook:
    daybook: Daybook = request.app.state.daybook
    return daybook


async def _request_id(request: Request) -> str:
    request_id: str = request.state.request_id
    return request_id


OpenDaybook = Annotated[Daybook, Depends(_daybook)]
RequestId = Annotated[str, Depends(_request_id)]


class OfDaybook:
    """An argument that holds the Daybook, and leaves it behind when it is sent to another process."""

    daybook: Daybook

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "daybook"}


class FileResponse(StreamingResponse):
    """The content of an open file, which is closed behind it."""

    def __init__(self, file: IO[bytes], status: int = 200, **options: Any) -> None:
        super().__init__(_chunks(file), status, **options)
        self._file = file

    def detach(self) -> int:
        """Return a descriptor of the file for the process that sends it, and close the file here."""
        with self._file as file:
            return os.dup(file.fileno())


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def answer(body: Any, *, seq: int, status: int = 200) -> Response:
    """Return a JSON answer that names a place in the log that covers it."""
    return Response(encoded(body), status_code=status, media_type="application/json", headers={SEQ_HEADER: str(seq)})


def documented(status: int, description: str, model: Any = None) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI description of an answer."""
    described: dict[str, Any] = {"description": description, "headers": SEQ_HEADERS}
    return {status: described | ({"model": model} if model is not None else {})}
