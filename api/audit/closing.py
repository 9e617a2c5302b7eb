"""Closings: committing to all figures as of a place in the log, and proving single ones, for routes and commands."""

from datetime import UTC
from typing import Any

from adapters.figures import closings, figure_proofs
from adapters.figures.closings import Closing
from adapters.figures.figure_proofs import FigureProof
from adapters.postgres.connections import Role, connect, reaching
from api.audit.proofs import sealed
from api.clock import now
from api.daybook import Daybook
from api.parameters import Moment
from api.problems import not_found
from api.read_models.snapshot import reading
from domain.errors import HistoryBroken, InvalidInput, RequestRefused
from domain.ledger import Answer
from domain.sealed import figures as sealed_figures
from domain.sealed.figures import Closed, CloseFigures, FiguresTree
from projections.analytics import figures

READ_SECONDS_MAX = 60.0  # how long a closing waits for read models to reach its place


def closing_request(daybook: Daybook, as_of_seq: int | None) -> tuple[CloseFigures, FiguresTree]:
    """Return the request that closes the figures as of a place in the log (by default its end), and the figures.

    Raises InvalidInput for a place that is not there, RequestRefused for an empty log.
    """
    head = daybook.history.head().seq
    if not head:
        raise RequestRefused("there is something to close: record an event first")
    seq = head if as_of_seq is None else as_of_seq
    if not 1 <= seq <= head:
        raise InvalidInput("as_of_seq", seq, f"a place in the log, which ends at {head}")
    (last,) = daybook.history.select(after=seq - 1, upto=seq, limit=1)
    closed_before = last.recorded.recorded_at.astimezone(UTC).date()
    tree = _computed(daybook, seq, closed_before)
    request = CloseFigures(
        as_of_seq=seq, closed_before=closed_before, figures=len(tree.figures), root=tree.root_text(),
        figures_format=sealed_figures.FORMAT, versions=figures.VERSIONS, transact_time=now(),
    )  # fmt: skip
    return request, tree


def _computed(daybook: Daybook, seq: int, closed_before: Any) -> FiguresTree:
    with reading(daybook, *figures.NAMES, moment=Moment(seq=seq), wait_seconds_max=READ_SECONDS_MAX) as found:
        return figures.figures(found.source, closed_before)


def keep(daybook: Daybook, request: CloseFigures, tree: FiguresTree) -> None:
    """Keep the figures of a closing for proofs, if it is on record."""
    known: Closed | None = daybook.state(sealed_figures.STREAM)
    if known is None or (known.as_of_seq, known.root) != (request.as_of_seq, request.root):
        return
    with reaching(daybook.url), connect(daybook.url, Role.WRITER) as connection:
        closings.keep(connection, request.as_of_seq, tree)


def closing_json(request: CloseFigures, done: Answer) -> dict[str, Any]:
    """Return a closing that was requested, as an answer."""
    return {
        "as_of_seq": request.as_of_seq, "closed_before": request.closed_before.isoformat(),
        "figures": request.figures, "root": request.root, "seq": done.seq,
    }  # fmt: skip


def closings_json(daybook: Daybook) -> list[dict[str, Any]]:
    """Return all closings on record, by seq."""
    with reaching(daybook.url), daybook.history.connection() as connection:
        found = closings.all_closings(connection)
    return [
        {
            "as_of_seq": each.event.as_of_seq, "closed_before": each.event.closed_before.isoformat(),
            "figures": each.event.figures, "root": each.event.root, "seq": each.seq,
        }
        for each in found
    ]  # fmt: skip


def prove(daybook: Daybook, key: str, *, as_of_seq: int | None = None, size: int | None = None) -> FigureProof:
    """Return the proof of a figure in a closing, by default the newest, by a checkpoint, by default the newest.

    Raises Problem if there is no such closing or checkpoint, RequestRefused for a day that is not closed,
    HistoryBroken if the figures are not those that were closed.
    """
    with reaching(daybook.url), daybook.history.connection() as connection:
        closing = closings.newest(connection, as_of_seq=as_of_seq, upto=size)
    if closing is None:
        what = "a closing" if as_of_seq is None else f"a closing as of seq {as_of_seq}"
        raise not_found(f"{what}{f' up to the checkpoint of {size} events' if size else ''}: run `daybook close`")
    figure_proofs.check_day(key, closing.event)
    inclusion = sealed(daybook, "checkpoint", lambda proofs: proofs.inclusion(closing.seq, size))
    with reaching(daybook.url):
        note = daybook.proofs.checkpoints(after=inclusion.size - 1, limit=1)
        keys = daybook.proofs.keys()
    if not note or note[0][0] != inclusion.size:
        raise not_found(f"a checkpoint of {inclusion.size} events: GET /v1/checkpoints lists all")
    tree = _tree_of(daybook, closing)
    return figure_proofs.made(key, tree, closing, inclusion=inclusion, note=note[0][1], keys=keys)


def _tree_of(daybook: Daybook, closing: Closing) -> FiguresTree:
    with reaching(daybook.url), daybook.history.connection() as connection:
        tree = closings.kept(connection, closing)
    if tree is not None:
        return tree
    event = closing.event
    tree = _computed(daybook, event.as_of_seq, event.closed_before)
    if not closings.is_of(tree, event):
        raise HistoryBroken(
            f"the figures as of seq {event.as_of_seq} are not those that were closed at seq {closing.seq}; run "
            "`daybook verify --figures`"
        )
    return tree
