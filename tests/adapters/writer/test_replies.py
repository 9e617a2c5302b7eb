"""Replies: given on the writer's thread, awaited on an event loop."""

import asyncio
from threading import Thread

import pytest

from adapters.writer.batch import LoopReply


def test_an_answer_of_another_thread_is_awaited() -> None:
    async def run() -> object:
        reply = LoopReply()
        Thread(target=reply.set_result, args=("done",)).start()
        return await reply.result(10)

    assert asyncio.run(run()) == "done"


def test_an_error_is_raised_where_it_is_awaited() -> None:
    async def run() -> None:
        reply = LoopReply()
        Thread(target=reply.set_exception, args=(KeyError("no"),)).start()
        await reply.result(10)

    with pytest.raises(KeyError):
        asyncio.run(run())


def test_without_an_answer_the_time_is_up() -> None:
    async def run() -> None:
        await LoopReply().result(0.01)

    with pytest.raises(TimeoutError):
        asyncio.run(run())


def test_an_answer_that_no_caller_waits_for_any_more_is_dropped() -> None:
    async def run() -> LoopReply:
        reply = LoopReply()
        waiting = asyncio.create_task(reply.result(10))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        reply.set_result("late")
        await asyncio.sleep(0)
        return LoopReply()

    reply = asyncio.run(run())
    reply.set_result("after the loop was closed")
    assert reply.done()
