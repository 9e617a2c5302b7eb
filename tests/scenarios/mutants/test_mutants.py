"""All that Daybook reads from outside, changed at random: read as it was meant, or refused with a sentence."""

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from adapters.verify import bundles
from adapters.verify.restore import restore
from adapters.verify.verification import verify
from domain.errors import LedgerError
from tests.databases import new_database
from tests.scenarios.mutants.kinds import KINDS, Kind, drawn_signed, is_sentence, outcome

pytestmark = pytest.mark.slow

MUTANTS = 3000  # of all kinds; `make mutants` reads a million
RESTORED = int(os.environ.get("DAYBOOK_MUTANTS_RESTORED", "40"))
SEED = os.environ.get("DAYBOOK_MUTATIONS_SEED", "1")


@pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])
def test_a_mutant_is_read_as_it_was_meant_or_refused_with_a_sentence(kind: Kind, tmp_path: Path) -> None:
    accepted = 0
    count = MUTANTS * kind.share // sum(each.share for each in KINDS)
    for number in range(count):
        accepted += outcome(kind, tmp_path / "mutant", kind.drawn(random.Random(f"{SEED}/{kind.name}/{number}")))
    assert 0 < accepted < count


def test_what_a_stranger_signed_is_restored_whole_or_not_at_all(
    tmp_path: Path, server_url: str, template: str, database_names: Iterator[str]
) -> None:
    path, restored = tmp_path / "bundle.zip", 0
    with ExitStack() as stack:
        url = stack.enter_context(new_database(server_url, next(database_names), template))
        for number in range(RESTORED):
            path.write_bytes(drawn_signed(random.Random(f"{SEED}/restored/{number}"), is_whole=True))
            try:
                with bundles.opened(path) as bundle:
                    proved = restore(url, bundle)
            except LedgerError as error:
                is_sentence(error)
                continue
            restored += 1
            assert verify(url).last == proved.manifest.events
            url = stack.enter_context(new_database(server_url, next(database_names), template))
    assert 0 < restored < RESTORED
