"""Who may run an expensive read, and who is next."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from api.http.admission import Admission, Most
from api.problems import Problem

PATIENT = 60.0
Body = Callable[[], Coroutine[Any, Any, None]]


def admitting(slots: int, per_key: int, seconds: float) -> Admission:
    return Admission("reads", Most(slots, per_key, waiting=6, waiting_per_key=4, wait_seconds=seconds))


def never() -> "asyncio.Future[None]":
    return asyncio.get_running_loop().create_future()


def run(body: Body) -> None:
    asyncio.run(body())


class Reader:
    """A read of a key: `ran` once it is admitted; it ends when `end` is called."""

    def __init__(self, admission: Admission, key: str, finished: list[str]) -> None:
        self._end = asyncio.Event()
        self.ran = False
        self.gone = never()
        self.task = asyncio.ensure_future(self._run(admission, key))
        self._finished = finished

    async def _run(self, admission: Admission, key: str) -> None:
        async with admission.admitted(key, self.gone):
            self.ran = True
            self._finished.append(key)
            await self._end.wait()

    async def end(self) -> None:
        self._end.set()
        await self.task


async def settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def refused(awaited: Awaitable[Any]) -> Problem:
    with pytest.raises(Problem) as caught:
        await awaited
    assert caught.value.headers["Retry-After"] == "5"
    return caught.value


def test_a_key_never_takes_every_slot():
    async def body() -> None:
        admits, order = admitting(2, 5, PATIENT), list[str]()
        greedy = [Reader(admits, "greedy", order) for _ in range(5)]
        await settled()
        assert (admits.running, admits.waiting) == (1, 4)
        other = Reader(admits, "other", order)
        await settled()
        assert (other.ran, admits.running, admits.waiting) == (True, 2, 4)
        await other.end()
        for each in greedy:
            await each.end()
        assert (admits.running, admits.waiting) == (0, 0)

    run(body)


def test_a_free_slot_goes_to_the_key_served_longest_ago():
    async def body() -> None:
        admits, order = admitting(1, 1, PATIENT), list[str]()
        reads = [Reader(admits, key, order) for key in "aaabbc"]
        for _ in reads:
            await settled()
            (running,) = [each for each in reads if each.ran and not each.task.done()]
            await running.end()
        assert "".join(order) == "abcaba"

    run(body)


def test_more_of_a_key_than_may_wait_are_refused_at_once():
    async def body() -> None:
        admits, order = admitting(2, 1, PATIENT), list[str]()
        reads = [Reader(admits, "greedy", order) for _ in range(5)]
        await settled()
        problem = await refused(Reader(admits, "greedy", order).task)
        assert (problem.status, problem.kind, problem.facts["running_max"]) == (429, "too-many-reads", 1)
        for each in reads:
            await each.end()

    run(body)


def test_more_of_all_keys_than_may_wait_are_refused_at_once():
    async def body() -> None:
        admits, order = admitting(1, 1, PATIENT), list[str]()
        reads = [Reader(admits, f"key{n}", order) for n in range(7)]
        await settled()
        problem = await refused(Reader(admits, "late", order).task)
        assert (problem.status, problem.kind) == (503, "reads-busy")
        for each in reads:
            await each.end()

    run(body)


def test_a_read_that_waited_too_long_is_refused_and_gives_up_its_place():
    async def body() -> None:
        admits, order = admitting(1, 1, 0.05), list[str]()
        first = Reader(admits, "a", order)
        await settled()
        of_others, of_itself = await asyncio.gather(
            refused(Reader(admits, "b", order).task), refused(Reader(admits, "a", order).task)
        )
        assert (of_others.status, of_others.kind) == (503, "reads-busy")
        assert (of_itself.status, of_itself.kind) == (429, "too-many-reads")
        assert (admits.running, admits.waiting) == (1, 0)
        await first.end()

    run(body)


def test_a_client_that_hangs_up_while_it_waits_leaves_the_queue():
    async def body() -> None:
        admits, order = admitting(1, 1, PATIENT), list[str]()
        first, second, third = (Reader(admits, key, order) for key in "abc")
        await settled()
        second.gone.set_result(None)
        with pytest.raises(Problem, match="closed the connection"):
            await second.task
        third.task.cancel()
        await asyncio.gather(third.task, return_exceptions=True)
        assert (admits.running, admits.waiting) == (1, 0)
        await first.end()
        assert admits.running == 0

    run(body)


def test_a_slot_given_to_a_read_that_is_canceled_meanwhile_is_free_again():
    async def body() -> None:
        admits, order = admitting(1, 1, PATIENT), list[str]()
        first, second, third = (Reader(admits, key, order) for key in "abc")
        await settled()
        first._end.set()
        while not first.task.done():
            await asyncio.sleep(0)
            if admits.waiting == 1:
                second.task.cancel()  # it has the slot, and has not run yet
        await asyncio.gather(second.task, return_exceptions=True)
        await settled()
        assert third.ran
        await third.end()
        assert (admits.running, admits.waiting) == (0, 0)

    run(body)
