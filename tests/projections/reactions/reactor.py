"""Policies that run in a process of their own, to be killed at a point of their work."""

import os
import signal
from typing import Any, NoReturn

import sqlalchemy as sa

from adapters.log.postgres import PostgresLog
from adapters.postgres.connections import Role
from adapters.postgres.engine import engine
from adapters.writer.reactions import sender
from adapters.writer.writer import Writer
from domain.reactions.process import Reaction, Send
from projections.reactions.runner import ReactionRunner
from tests.projections.reactions.book import LATER

POINTS = {"before": 3, "after": 4, "saving": 1, "saved": 1}  # and how many passes more the next process lives


def killed(*_: Any) -> NoReturn:
    """End as a power cut does."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("unreachable")


def run(url: str, point: str, number: int) -> None:
    """React until nothing is left to do, or be killed at the `number`-th pass of a point.

    before: a request is sent. after: it was answered, and the place is not stored. saving: the place is written and not
    committed. saved: it is committed.
    """
    passed = 0

    def pass_(here: str) -> None:
        nonlocal passed
        passed += here == point
        if passed == number:
            killed()

    with PostgresLog(url) as log:
        writer, projector = Writer(log, lambda: LATER), engine(url, Role.PROJECTOR)
        is_saving = False

        def on_execute(_: Any, __: Any, statement: str, *___: Any) -> None:
            nonlocal is_saving
            is_saving = statement.startswith("UPDATE read.reactions")

        def on_commit(_: Any) -> None:
            if is_saving:
                pass_("saving")

        sa.event.listen(projector, "after_cursor_execute", on_execute)
        sa.event.listen(projector, "commit", on_commit)
        with writer.leading(url):
            runner = ReactionRunner(log, projector, _passing(sender(writer, lambda: None), pass_), now=lambda: LATER)
            before = -1
            while (head := log.head().seq) != before:
                before = head
                runner.catch_up()
                pass_("saved")
        projector.dispose()


def _passing(send: Send, pass_: Any) -> Send:
    """Send one request at a time, with a point before and after each."""

    def send_each(reactions: Any) -> list[str | None]:
        answers: list[str | None] = []
        for reaction in reactions:
            answers += _sent(send, reaction, pass_)
        return answers

    return send_each


def _sent(send: Send, reaction: Reaction, pass_: Any) -> list[str | None]:
    pass_("before")
    answer = send([reaction])
    pass_("after")
    return answer
