"""The threat model: each threat names an actor that is described, a measure, and tests that exist."""

from tests import CHECKOUT
from tests.tables import check_tests, table

PAGE = (CHECKOUT / "docs" / "security.md").read_text()


def test_every_threat_has_an_actor_a_measure_and_tests_that_exist():
    actors = {row[0] for row in table(PAGE, "Who may attack it")}
    threats = table(PAGE, "Threats and measures")
    assert {row[0] for row in threats} == actors, "each actor has a threat, and each threat an actor of the page"
    for row in threats:
        assert len(row) == 4, row
        actor, threat, measure, named = row
        assert threat, row
        assert measure, row
        check_tests(f"{actor}: {threat}", named)


def test_the_policy_leads_to_the_threat_model_and_back():
    assert "(docs/security.md)" in (CHECKOUT / "SECURITY.md").read_text()
    assert "(../SECURITY.md)" in PAGE
