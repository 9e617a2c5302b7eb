"""`daybook witness`: be a witness of other ledgers, which cosigns their checkpoints (C2SP tlog-witness)."""

from pathlib import Path
from typing import Annotated

import typer

from api.terminal.output import Json

witness = typer.Typer(
    name="witness", help="Be a witness of other ledgers: cosign their checkpoints.", no_args_is_help=True
)

Name = Annotated[str, typer.Option("--name", help="The name in its key and signatures, such as witness.example/w1.")]
Directory = Annotated[
    Path | None,
    typer.Option("--directory", file_okay=False, help="Its key and state; by default `witness` in the home."),
]


@witness.command()
def trust(
    name: Name,
    keys: Annotated[
        list[str], typer.Argument(metavar="VKEY|FILE...", help="Public keys of ledgers, or files of them.")
    ],
    directory: Directory = None,
    json: Json = False,
) -> None:
    """Trust the public keys of ledgers, as `daybook keys seal show` prints them there. A new key is added likewise."""
    from api.audit.witnessing import trust_logs

    trust_logs(name, keys, directory, json=json)


@witness.command()
def serve(
    name: Name,
    directory: Directory = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any free one.")] = 8100,
    json: Json = False,
) -> None:
    """Cosign checkpoints of the ledgers that are trusted, until Ctrl-C. Prints the public key of the witness."""
    from api.audit.witnessing import serve_witness

    serve_witness(name, directory, host=host, port=port, json=json)
