"""Signed checkpoints of the log, and proofs of inclusion and consistency, over HTTP.

Hashes and proofs are those of RFC 6962, in base64; leaf index = seq - 1; checkpoints are C2SP tlog-checkpoint notes.
Every answer can be checked with the public key alone.
"""

import base64
from typing import Annotated, Any

from fastapi import APIRouter, Query
from starlette.responses import PlainTextResponse, Response

from adapters.postgres.connections import reaching
from adapters.postgres.scopes import Scope
from adapters.proof import checkpoints
from api.audit.proofs import newest_note, sealed
from api.http.auth import needs
from api.http.dependencies import OpenDaybook, answer, documented
from api.http.fields import InstrumentId
from api.http.problem_responses import responses
from api.http.reads import ReadRoute
from api.parameters import Moment
from api.read_models import schemas
from api.read_models.query_params import SEQ_MAX
from api.verify.mark_proofs import mark_proof

CHECKPOINTS_PAGE_MAX = 1000
Size = Annotated[
    int | None, Query(ge=1, le=SEQ_MAX, description="events in the tree; by default those of the newest checkpoint")
]
IsCosigned = Annotated[
    bool, Query(description="the newest that meets DAYBOOK_WITNESS_POLICY, or without one has any cosignature")
]

router = APIRouter(
    prefix="/v1",
    route_class=ReadRoute,
    tags=["proof"],
    dependencies=[needs(Scope.AUDIT)],
    responses=responses(401, 403, 422, 503),
)


@router.get(
    "/checkpoints/latest", response_model=schemas.CheckpointAnswer,
    responses=documented(200, "the newest checkpoint") | responses(404),
)  # fmt: skip
def latest_checkpoint(daybook: OpenDaybook, cosigned: IsCosigned = False) -> Response:
    """Return the newest signed checkpoint, with the cosignatures that there are of it."""
    note, text = newest_note(daybook, is_cosigned=cosigned)
    return answer(_checkpoint_json(note.checkpoint.size, text), seq=note.checkpoint.size)


@router.get(
    "/checkpoints/latest/note",
    response_class=PlainTextResponse,
    responses=documented(200, "the signed text of the checkpoint") | responses(404),
)
def latest_note(daybook: OpenDaybook, cosigned: IsCosigned = False) -> Response:
    """Return the newest checkpoint as its signed text, with cosignatures, to be stored unchanged."""
    return PlainTextResponse(newest_note(daybook, is_cosigned=cosigned)[1])


@router.get(
    "/checkpoints", response_model=schemas.CheckpointsAnswer, responses=documented(200, "a page of checkpoints")
)
def list_checkpoints(
    daybook: OpenDaybook,
    after: Annotated[int, Query(ge=0, le=SEQ_MAX, description="the size of the last checkpoint already received")] = 0,
    limit: Annotated[int, Query(ge=1, le=CHECKPOINTS_PAGE_MAX)] = 100,
) -> Response:
    """List checkpoints, oldest first."""
    with reaching(daybook.url):
        found = daybook.proofs.checkpoints(after=after, limit=limit)
    last = found[-1][0] if found else after
    body = {"items": [_checkpoint_json(*one) for one in found], "next": last if len(found) == limit else None}
    return answer(body, seq=last)


@router.get(
    "/proofs/inclusion", response_model=schemas.InclusionAnswer, responses=documented(200, "the proof") | responses(409)
)
def prove_inclusion(daybook: OpenDaybook, seq: Annotated[int, Query(ge=1, le=SEQ_MAX)], size: Size = None) -> Response:
    """Prove that the event of `seq` is in the log that was signed."""
    found = sealed(daybook, "seq", lambda proofs: proofs.inclusion(seq, size))
    body = {
        "seq": found.seq, "leaf_index": found.seq - 1, "size": found.size, "leaf": _text(found.leaf),
        "proof": [_text(each) for each in found.proof], "root": _text(found.root),
    }  # fmt: skip
    return answer(body, seq=found.size)


@router.get(
    "/proofs/tlog", response_class=PlainTextResponse,
    responses=documented(200, "the proof, a C2SP tlog-proof file with the event's bytes") | responses(409),
)  # fmt: skip
def prove_by_file(daybook: OpenDaybook, seq: Annotated[int, Query(ge=1, le=SEQ_MAX)]) -> Response:
    """Prove that the event of `seq` is in the log, in one file (C2SP tlog-proof) that verifies offline: the event, its
    inclusion proof and a cosigned checkpoint."""
    found = sealed(daybook, "seq", lambda proofs: proofs.tlog_proof(seq, daybook.witness_policy))
    headers = {"Content-Disposition": f'attachment; filename="{seq}.tlog-proof"'}
    return PlainTextResponse(found.text(), headers=headers)


@router.get(
    "/proofs/mark", response_model=schemas.MarkProofAnswer,
    responses=documented(200, "the mark and its proof") | responses(404, 409),
)  # fmt: skip
def prove_mark(
    daybook: OpenDaybook,
    instrument_id: Annotated[InstrumentId, Query()],
    as_of_seq: Annotated[
        int | None, Query(ge=0, le=SEQ_MAX, description="as known at this place in the log; by default now")
    ] = None,
) -> Response:
    """Prove that the newest mark of an instrument is in a batch of the log."""
    found = mark_proof(daybook, instrument_id, None if as_of_seq is None else Moment(seq=as_of_seq))
    return answer(found, seq=found["seq"])


@router.get(
    "/proofs/consistency", response_model=schemas.ConsistencyAnswer,
    responses=documented(200, "the proof") | responses(409),
)  # fmt: skip
def prove_consistency(
    daybook: OpenDaybook,
    from_: Annotated[int, Query(alias="from", ge=0, le=SEQ_MAX, description="events in the older tree")],
    to: Size = None,
) -> Response:
    """Prove that the log of `from` events is the beginning of the log of `to` events."""
    found = sealed(daybook, "to", lambda proofs: proofs.consistency(from_, to))
    body = {
        "from": found.old, "to": found.new, "from_root": _text(found.old_root), "to_root": _text(found.new_root),
        "proof": [_text(each) for each in found.proof],
    }  # fmt: skip
    return answer(body, seq=found.new)


@router.get("/proofs/keys", response_model=schemas.SealKeysAnswer, responses=documented(200, "the public keys"))
def list_seal_keys(daybook: OpenDaybook) -> Response:
    """List the public keys of checkpoints, oldest first, and the statement by which each was vouched for by the one
    before; `recorded_seq` is the event that has the key on record."""
    with reaching(daybook.url):
        chain, seqs = daybook.proofs.keys(), daybook.proofs.key_seqs()
    items = [
        {
            "vkey": each.key.vkey, "public_key": _text(each.key.raw), "since_size": each.since,
            "handover": each.handover, "recorded_seq": seqs[place] if place < len(seqs) else None,
        }
        for place, each in enumerate(chain)
    ]  # fmt: skip
    return answer({"items": items}, seq=chain[-1].since if chain else 0)


def _checkpoint_json(size: int, text: str) -> dict[str, Any]:
    checkpoint = checkpoints.parse(text).checkpoint
    return {"origin": checkpoint.origin, "size": size, "root": _text(checkpoint.root), "note": text}


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
