"""The pages that are written by the code are current."""

import importlib.util

from tests import CHECKOUT

DOCS = CHECKOUT / "docs"


def test_the_reference_of_events_is_current():
    spec = importlib.util.spec_from_file_location("events_page", DOCS / "events.py")
    assert spec is not None
    assert spec.loader is not None
    events_page = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(events_page)
    assert events_page.page() == (DOCS / "events.md").read_text(), "run `python docs/events.py`"
