"""A companion gets and sends messages, reports why it ends, and does not outlive its parent's end of the pipe."""

import os
import signal
import time
from multiprocessing.connection import Connection as Pipe

import pytest

from adapters.processes.companion import Companion, Failed
from adapters.processes.pool import WorkerEnded
from domain.errors import Unavailable

SECONDS_MAX = 60


def echoing(pipe: Pipe) -> None:
    while (message := pipe.recv()) != "end":
        if message == "fail":
            raise Unavailable("the database cannot be reached")
        if message == "err":
            raise ValueError(message)
        if message == "sleep":
            time.sleep(3600)
        pipe.send((os.getpid(), message))


def started() -> Companion:
    return Companion(echoing, name="test companion", modules=["psycopg"])


def test_messages_go_both_ways_until_it_is_closed():
    companion = started()
    companion.send(True)
    assert companion.receive(SECONDS_MAX) == (companion.pid, True)
    assert companion.receive(0) is None
    pid = companion.pid
    companion.close()
    assert pid is not None
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(("word", "reason"), [("fail", "the database cannot be reached"), ("err", "ValueError: err")])
def test_it_reports_the_error_that_ends_it(word: str, reason: str):
    companion = started()
    companion.send(word)
    with pytest.raises(Failed, match=reason):
        companion.receive(SECONDS_MAX)
    companion.close()


def test_one_that_is_killed_has_ended_and_one_that_reads_nothing_does_not_block():
    companion = started()
    companion.send("sleep")
    began = time.monotonic()
    for _ in range(20_000):
        companion.send("a message that is never read")
    assert time.monotonic() - began < SECONDS_MAX
    assert companion.pid is not None
    os.kill(companion.pid, signal.SIGKILL)
    with pytest.raises(WorkerEnded):
        companion.receive(SECONDS_MAX)
    companion.close()
