"""The page on verifying: each attack names what finds it, what that needs, and tests that exist; options are real."""

import re

from typer.main import get_command

from api.cli import app
from tests import CHECKOUT
from tests.tables import check_tests, table

PAGE = (CHECKOUT / "docs" / "verify.md").read_text()


def test_every_attack_says_what_finds_it_what_that_needs_and_names_tests_that_exist():
    attacks = table(PAGE, "What is found, and what is not")
    assert len({row[0] for row in attacks}) == len(attacks) > 20, "each attack has one row"
    for row in attacks:
        assert len(row) == 4, row
        attack, found_by, needed, named = row
        assert attack and needed, row
        assert found_by == "no command" or found_by.startswith("`daybook verify"), row
        check_tests(attack, named)


def test_the_page_names_options_that_there_are():
    verify = get_command(app).commands["verify"]  # type: ignore[attr-defined]
    options = {option for parameter in verify.params for option in (*parameter.opts, *parameter.secondary_opts)}
    lines = [line.partition("#")[0] for line in PAGE.splitlines() if "daybook verify" in line]
    named = {option for line in lines for option in re.findall(r"(?<![\w-])--[a-z-]+", line)}
    assert {"--key", "--against", "--derivation"} <= named <= options
