"""Handlers that are `async`."""

import asyncio
import unittest

from heddle import Reject, log, publish, testing
from heddle.testing import event


def run(handle):
    return testing.run(handle, event("a"))


def messages(result):
    return [line.message for line in result.logs]


class Loops(unittest.TestCase):
    def test_a_handler_runs_to_its_end(self):
        async def three():
            return 3

        async def handle(event):
            await asyncio.sleep(0)
            await asyncio.sleep(3600)
            publish("out.x", await three())

        self.assertEqual(run(handle).done().message("out.x").json(), 3)

    def test_a_callable_object_may_be_async(self):
        class Handler:
            async def __call__(self, event):
                publish("out.x", 1)

        self.assertEqual(run(Handler()).done().subjects, ["out.x"])

    def test_timers_fire_in_their_order_on_a_clock_that_jumps(self):
        async def late(seconds):
            await asyncio.sleep(seconds)
            log.info(f"{seconds} at {round(asyncio.get_running_loop().time(), 3)}")
            return seconds

        async def handle(event):
            self.assertEqual(await asyncio.gather(late(2), late(0.5), late(86_400 * 3)), [2, 0.5, 86_400 * 3])

        self.assertEqual(messages(run(handle).done()), ["0.5 at 0.5", "2 at 2.0", "259200 at 259200.0"])

    def test_queues_tasks_and_timeouts_work(self):
        async def handle(event):
            queue = asyncio.Queue()
            task = asyncio.create_task(queue.get())
            await queue.put("put")
            log.info(await task)
            try:
                await asyncio.wait_for(asyncio.Event().wait(), 5)
            except asyncio.TimeoutError:
                log.info("timeout")

        self.assertEqual(messages(run(handle).done()), ["put", "timeout"])

    def test_what_is_raised_is_judged(self):
        async def handle(event):
            await asyncio.sleep(1)
            raise Reject("no")

        self.assertEqual(run(handle).rejected(), "no")

    def test_what_never_comes_is_a_retry_that_says_where(self):
        async def deep():
            await asyncio.get_running_loop().create_future()

        async def handle(event):
            await deep()

        first, deeper, outer = run(handle).retried().split("\n")
        self.assertEqual(first, "the handler awaits what never comes: no task is ready, and no timer is set")
        self.assertRegex(deeper, r"^at .*deep \(tests/test_loop\.py:\d+\)$")
        self.assertRegex(outer, r"^at .*handle \(tests/test_loop\.py:\d+\)$")

    def test_tasks_left_over_are_cancelled_and_the_next_event_sees_nothing_of_them(self):
        async def left():
            try:
                await asyncio.sleep(1)
                log.info("never said")
            finally:
                log.info("cancelled")

        async def numbers():
            try:
                while True:
                    yield 1
            finally:
                log.info("closed")

        kept = []

        async def handle(event):
            self.assertEqual(len(asyncio.all_tasks()), 1)
            kept.append(asyncio.create_task(left()))
            kept.append(generator := numbers())
            await generator.__anext__()
            await asyncio.sleep(0)

        handler = testing.handler(handle)
        for _ in range(2):
            self.assertEqual(messages(handler.run(event("a")).done()), ["cancelled", "closed"])

    def test_a_task_that_waits_for_ever_does_not_hold_the_event(self):
        async def handle(event):
            asyncio.ensure_future(asyncio.Event().wait())
            await asyncio.sleep(0)

        run(handle).done()

    def test_a_coroutine_from_a_handler_that_is_not_async_is_told(self):
        async def coroutine():
            pass

        reason = run(lambda event: coroutine()).retried()
        self.assertIn("write it as `async def`", reason.split("\n")[0])
