"""The work of `daybook witness`: a small HTTP service over a directory; it needs no database."""

import json as jsons
import signal
import socket
import sys
from pathlib import Path

import typer
import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from adapters.postgres import own_home
from adapters.proof.witnessing import BODY_BYTES_MAX, Reply, Witnessing
from api.http.server import configured, url_of
from api.problems import Problem
from api.settings import Settings
from api.terminal.options import environment
from api.terminal.output import note, say, write_json
from api.verify import trust


def trust_logs(name: str, keys: list[str], directory: Path | None, *, json: bool) -> None:
    """Trust the public keys of ledgers."""
    found = [pin.key for pin in trust.given_keys(keys)]
    witness = Witnessing(_directory(environment(), directory), name)
    try:
        new = witness.trust(found)
    finally:
        witness.close()
    if json:
        write_json({"vkey": witness.key.vkey, "trusted": [key.vkey for key in found], "new": new})
    else:
        say(f"{new} of {len(found)} keys were not trusted before. The witness is {witness.key.vkey}")


def serve_witness(name: str, directory: Path | None, *, host: str, port: int, json: bool) -> None:
    """Serve until Ctrl-C."""
    settings = environment().model_copy(update={"host": host, "port": port})
    witness = Witnessing(_directory(settings, directory), name)
    try:
        with _listening(host, port) as listening:
            url = url_of(settings, listening)
            if json:
                sys.stdout.write(jsons.dumps({"url": url, "vkey": witness.key.vkey}) + "\n")
                sys.stdout.flush()
            else:
                say(witness.key.vkey)
                note(f"Witness on {url} (Ctrl-C to stop)")
            for ending in (signal.SIGTERM, signal.SIGINT):  # uvicorn raises the signal again after its shutdown
                signal.signal(ending, _end)
            uvicorn.Server(configured(app_of(witness), settings)).run(sockets=[listening])
    finally:
        witness.close()


def app_of(witness: Witnessing) -> Starlette:
    """Return the HTTP service of a witness: `POST /add-checkpoint` and `GET /<SHA-256 of the origin>/checkpoint`."""

    async def add_checkpoint(request: Request) -> Response:
        body = b""
        async for part in request.stream():
            body += part
            if len(body) > BODY_BYTES_MAX:
                return PlainTextResponse("the request is too long\n", 413)
        reply: Reply = await run_in_threadpool(witness.add_checkpoint, body)
        return Response(reply.text, reply.status, {"Content-Type": reply.kind})

    async def latest(request: Request) -> Response:
        text = await run_in_threadpool(witness.latest, request.path_params["origin"])
        return PlainTextResponse("nothing was cosigned\n", 404) if text is None else PlainTextResponse(text)

    return Starlette(
        routes=[
            Route("/add-checkpoint", add_checkpoint, methods=["POST"]),
            Route("/{origin}/checkpoint", latest, methods=["GET"]),
        ]
    )


def _end(*_: object) -> None:
    raise typer.Exit


def _directory(settings: Settings, directory: Path | None) -> Path:
    if directory is not None:
        return directory
    if "home" not in settings.model_fields_set:
        own_home.check(settings.home)
    return settings.home.expanduser() / "witness"


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise Problem(
            409, "port", "Port not free", f"cannot listen on {host}:{port}: {error}; choose --port"
        ) from error
