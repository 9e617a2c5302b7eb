"""Proofs of single marks: that the mark a query finds is in a batch of the log."""

import base64
from typing import Any

from adapters.market.mark_store import KnownBy
from adapters.postgres.connections import reaching
from adapters.verify.mark_check import MarkFinding, prove_mark
from api.daybook import Daybook
from api.parameters import Moment
from api.problems import not_found
from api.reports.committed_marks import altered
from domain.errors import InvalidInput
from domain.values import EARLIEST


def mark_proof(daybook: Daybook, instrument_id: str, moment: Moment | None) -> dict[str, Any]:
    """Return the newest mark of an instrument, as known at a moment, with its proof.

    Raises Problem if there is none, or it is not as recorded or in no batch yet; InvalidInput.
    """
    known = None if moment is None else _known(daybook, moment)
    found = daybook.market.latest_all(known.at if known else None, known).get(instrument_id)
    if found is None:
        raise not_found(f"a mark of {instrument_id}", instrument_id=instrument_id)
    with reaching(daybook.url), daybook.history.connection() as connection:
        proved = prove_mark(connection, found.mark_id)
    if proved is None:
        raise not_found(
            f"a batch of the mark of {instrument_id}: it was recorded before batches were (daybook commit-marks)",
            instrument_id=instrument_id,
        )  # fmt: skip
    if isinstance(proved, MarkFinding):
        raise altered(str(proved), proved.seq)
    return {
        "leaf": proved.leaf.decode(), "leaf_index": proved.place, "size": proved.size,
        "proof": [base64.b64encode(each).decode() for each in proved.proof],
        "root": base64.b64encode(bytes.fromhex(proved.root)).decode(), "seq": proved.seq,
    }  # fmt: skip


def _known(daybook: Daybook, moment: Moment) -> KnownBy:
    head = daybook.history.head().seq
    seq = daybook.history.seq_at(moment.at) if moment.at is not None else moment.seq or 0
    if seq > head:
        raise InvalidInput("as_of", seq, f"a place in the log, which ends at {head}")
    return KnownBy(seq, moment.at or daybook.history.recorded_by(seq) or EARLIEST)
