"""What a handler can rely on, and what its tests can."""

import json
import unittest
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import heddle
from heddle import (
    DecodeError,
    Defer,
    EffectError,
    Reject,
    Retry,
    config,
    context,
    log,
    publish,
    publish_bytes,
    publish_text,
    reply,
    reply_bytes,
    reply_text,
    state,
    testing,
)
from heddle.testing import Limits, LogLine, event


def count(event):
    n = state.update(lambda n: n + 1, default=0)
    publish(f"count.{event.key}", n)
    log.info(f"{event.key} is at {n}")
    if event.payload == b"fail":
        raise Retry("as told")


def raising(error):
    def handle(_):
        raise error

    return testing.run(handle, event("a"))


def refusal(act, **settings):
    """The text of the `EffectError` that `act` raises, and of its handler's verdict."""
    run = testing.handler(lambda _: act(), **settings).run(event("a"))
    assert isinstance(run.error, EffectError), run.error
    assert run.rejected() == str(run.error)
    return run.error


class States(unittest.TestCase):
    def test_each_key_has_a_state_of_its_own(self):
        counter = testing.handler(count, key="{subject.1}")
        counter.run(event("hit.a")).done()
        counter.run(event("hit.b")).done()
        self.assertEqual(counter.run(event("hit.a")).done().message("count.a").json(), 2)
        self.assertEqual([counter.state(key) for key in "abc"], [2, 1, None])

    def test_what_a_failed_event_did_is_forgotten_but_its_log(self):
        counter = testing.handler(count, key="k").given_state("k", 5)
        run = counter.run(event("hit", text="fail"))
        self.assertEqual((run.retried(), run.messages, run.state), ("as told", [], 5))
        self.assertEqual(run.logs, [LogLine("info", "k is at 6")])

    def test_a_state_that_cannot_be_read_is_a_reject(self):
        counter = testing.handler(count, key="k").given_state_bytes("k", b"five")
        self.assertTrue(counter.run(event("hit")).rejected().startswith("cannot decode the state: "))

    def test_a_state_is_json_text_or_bytes(self):
        seen = []

        def handle(event):
            state.set({"a": "ä"})
            seen.append((state.get(), state.get_text(), state.get_bytes()))
            state.set_text("ä")
            seen.append(state.get_text())
            state.set_bytes(bytearray(b"\xff"))
            seen.append(state.get_bytes())
            try:
                state.get_text()
            except DecodeError as error:
                seen.append(str(error)[:25])
            state.clear()
            seen.append((state.get(), state.get(default=7), state.get_text(), state.get_bytes()))

        self.assertIsNone(testing.run(handle, event("a")).done().state_bytes)
        first = ({"a": "ä"}, '{"a":"ä"}', '{"a":"ä"}'.encode())
        self.assertEqual(seen, [first, "ä", b"\xff", "cannot decode the state: ", (None, 7, None, None)])

    def test_an_update_that_returns_nothing_is_told(self):
        run = testing.run(lambda _: state.update(lambda steps: steps.append(1), default=[]) and None, event("a"))
        self.assertIn("must return the new state", run.retried())

    def test_a_state_of_another_shape_is_a_reject(self):
        handler = testing.handler(lambda _: print(state.get(dict[str, int])), key="k").given_state("k", {"a": "1"})
        self.assertEqual(handler.run(event("a")).rejected(), "cannot decode the state: expected an integer, found '1'")


class Effects(unittest.TestCase):
    def test_a_payload_is_json_text_or_bytes(self):
        def handle(_):
            publish("out.a", {"a": [1, "ä", None]})
            publish("out.b", "ä")
            publish_text("out.c", "ä")
            publish_bytes("out.d", memoryview(b"\xff"))

        messages = testing.run(handle, event("a")).done().messages
        payloads = [message.payload for message in messages]
        self.assertEqual(payloads, ['{"a":[1,"ä",null]}'.encode(), '"ä"'.encode(), "ä".encode(), b"\xff"])

    def test_a_dataclass_is_written_as_an_object(self):
        @dataclass
        class Gift:
            order: str
            number: int

        run = testing.run(lambda _: publish("out.a", [Gift("o-1", 1)]), event("a"))
        self.assertEqual(run.done().message("out.a").text(), '[{"order":"o-1","number":1}]')

    def test_what_is_no_json_is_refused_with_its_subject(self):
        start = "publish on `out.x` refused: invalid: cannot be written as JSON: "
        for odd in (b"x", {1, 2}, float("nan"), {(1, 2): 3}):
            self.assertTrue(str(refusal(lambda odd=odd: publish("out.x", odd))).startswith(start))
        self.assertTrue(str(refusal(lambda: state.set(b"x"))).startswith("state refused: invalid: "))
        self.assertTrue(str(refusal(lambda: reply(b"x"))).startswith("reply refused: invalid: "))

    def test_lone_surrogates_never_reach_the_host(self):
        self.assertEqual(refusal(lambda: publish_text("out.x", "\ud800")).kind, "invalid")
        self.assertEqual(refusal(lambda: publish("out.\ud800", 1)).kind, "invalid")
        self.assertEqual(refusal(lambda: publish("out.x", 1, headers={"a": "\ud800"})).kind, "invalid")
        self.assertEqual(refusal(lambda: state.set_text("\ud800")).kind, "invalid")
        run = testing.run(lambda _: publish("out.x", ["ä\ud800"]) or log.info("\ud800"), event("a"))
        self.assertEqual(run.done().message("out.x").text(), '["\\u00e4\\ud800"]')
        self.assertEqual(run.logs, [LogLine("info", "?")])
        self.assertEqual(raising(Reject("\ud800")).rejected(), "?")

    def test_another_type_is_a_fault_of_the_handler(self):
        acts = [
            lambda: publish(5, 1),
            lambda: publish_text("out.x", 5),
            lambda: publish_bytes("out.x", "text"),
            lambda: publish("out.x", 1, headers={"a": 5}),
            lambda: state.set_text(5),
            lambda: state.set_bytes("text"),
        ]
        for act in acts:
            reason = testing.run(lambda _, act=act: act(), event("a")).retried()
            self.assertTrue(reason.startswith("TypeError: "), reason)

    def test_a_refused_effect_is_a_reject_that_says_which(self):
        error = refusal(lambda: publish("other.x", 1), publishes=["out.*"])
        text = "publish on `other.x` refused: not granted: subject `other.x` is outside of `publishes`"
        self.assertEqual((error.kind, error.limit, str(error)), ("not-granted", None, text))

    def test_a_handler_may_go_on_without_a_refused_effect(self):
        def handle(_):
            try:
                publish("out.*", 1)
            except EffectError as error:
                publish("out.x", error.kind)

        self.assertEqual(testing.run(handle, event("a")).done().message("out.x").json(), "invalid")

    def test_limits_hold(self):
        limits = Limits(messages=2, output=99, state=10)

        def handle(_):
            publish("out.a", "1")
            told = []
            for act in (
                lambda: publish_text("out.b", "x" * 100),
                lambda: state.set("longer than ten bytes"),
                lambda: publish("out.c", "1") or publish("out.d", "1"),
            ):
                try:
                    act()
                except EffectError as error:
                    told.append((error.kind, error.limit, str(error)))
            self.assertEqual(
                told,
                [
                    ("too-large", 99, "publish on `out.b` refused: too large: the limit is 99 bytes"),
                    ("too-large", 10, "state refused: too large: the limit is 10 bytes"),
                    ("too-many", 2, "publish on `out.d` refused: too many messages: the limit is 2"),
                ],
            )

        run = testing.handler(handle, limits=limits).run(event("a"))
        self.assertEqual(run.done().subjects, ["out.a", "out.c"])

    def test_a_message_carries_its_headers_and_its_delay(self):
        pairs = [("Priority", "low"), ("Priority", "none")]

        def handle(_):
            publish("out.a", 1, headers=pairs, delay=1.5)
            publish("out.b", 1, headers={"A": "b"}, delay=timedelta(minutes=1))
            publish("out.c", 1)

        a, b, c = testing.run(handle, event("a")).done().messages
        self.assertEqual((a.headers, a.header("Priority"), a.delay), (pairs, "low", 2))
        self.assertEqual((b.headers, b.delay, c.delay), ([("A", "b")], 60, 0))

    def test_a_delay_has_bounds(self):
        text = "publish on `out.x` refused: invalid: a delay of 4294967296 seconds is too long"
        self.assertEqual(str(refusal(lambda: publish("out.x", 1, delay=2.0**32))), text)
        run = testing.run(lambda _: publish("out.x", 1, delay=-1), event("a"))
        self.assertTrue(run.retried().startswith("ValueError: a delay cannot be negative: -1"))

    def test_a_reply_goes_to_whoever_asked_and_to_no_one_else(self):
        def handle(_):
            reply_text("yes", headers={"Kind": "short"})

        answer = testing.run(handle, event("a", reply_to="_INBOX.7")).done().reply
        self.assertEqual((answer.subject, answer.text(), answer.header("Kind")), ("_INBOX.7", "yes", "short"))
        text = "reply refused: invalid: the event has no `Heddle-Reply-To` header"
        self.assertEqual(testing.run(handle, event("a")).rejected(), text)
        twice = testing.run(lambda _: reply(1) or reply_bytes(b"2"), event("a", reply_to="_INBOX.7"))
        self.assertEqual(twice.rejected(), "reply refused: invalid: the event is answered already")


class Verdicts(unittest.TestCase):
    def test_the_handler_decides(self):
        self.assertEqual(raising(Retry("r")).retried(), "r")
        self.assertEqual(raising(Reject(ValueError("r"))).rejected(), "r")
        self.assertEqual(raising(Defer(60, "r")).deferred(), (60_000, "r"))
        self.assertEqual(raising(Defer(timedelta(microseconds=1001), "r")).deferred(), (2, "r"))
        self.assertEqual([raising(error("r")).verdict for error in (Retry, Reject)], ["retry", "reject"])
        self.assertTrue(raising(SystemExit(3)).retried().startswith("SystemExit: 3\nat "))

    def test_a_verdict_of_an_own_kind_is_one(self):
        class SoldOut(Reject):
            def __init__(self, item):
                self.item = item

            def __str__(self):
                return f"no `{self.item}` is left"

        class Night(Defer):
            def __init__(self):
                super().__init__(3600, "it is night")

        self.assertEqual(raising(SoldOut("loom")).rejected(), "no `loom` is left")
        self.assertEqual(raising(Night()).deferred(), (3_600_000, "it is night"))

    def test_a_deferral_is_never_shortened_but_by_what_fits(self):
        delays = [Defer(delay, "").delay_ms for delay in (0, 0.0010001, 0.3, 1.1, float("inf"), timedelta.max)]
        self.assertEqual(delays, [0, 2, 300, 1100, 0xFFFF_FFFF, 0xFFFF_FFFF])
        for bad in (-1, float("nan"), timedelta(seconds=-1)):
            self.assertRaises(ValueError, Defer, bad, "")

    def test_a_byte_order_mark_before_json_is_skipped_and_stays_in_text(self):
        def read(event):
            self.assertEqual(event.json(), {"order": "o-1"})
            self.assertTrue(event.text().startswith("\ufeff"))

        testing.run(read, event("a", payload=b'\xef\xbb\xbf{"order":"o-1"}')).done()

    def test_an_unreadable_payload_is_a_reject(self):
        def read(how, payload):
            return testing.run(lambda event: how(event) and None, event("a", payload=payload)).rejected()

        start = "cannot decode the payload: "
        self.assertEqual(read(lambda e: e.json(), b"nope"), start + "Expecting value: line 1 column 1 (char 0)")
        self.assertEqual(read(lambda e: e.json(), b"[NaN]"), start + "NaN is not JSON")
        deep = start + "nested deeper than 512 levels"
        self.assertEqual(read(lambda e: e.json(), b"[" * 100_000), deep)
        self.assertEqual(read(lambda e: e.json(), b'{"\\"]":[' * 300), deep)
        self.assertEqual(read(lambda e: e.json(), b"\xff")[: len(start)], start)
        self.assertEqual(read(lambda e: e.text(), b"\xff")[: len(start)], start)
        self.assertEqual(raising(DecodeError("payload", "no order")).rejected(), start + "no order")

    def test_a_payload_may_have_many_lists_and_brackets_in_its_texts(self):
        text = json.dumps(["[" * 1000, '"[' * 1000, "\\[" * 1000]).encode()
        for payload in (b"[" * 512 + b"]" * 512, b"[[]" + b",[]" * 1000 + b"]", text):
            testing.run(lambda event: event.json() and None, event("a", payload=payload)).done()

    def test_a_setting_that_cannot_be_read_is_a_retry(self):
        def handle(_):
            publish("out.limit", config.parse("limit", int, 1000))

        self.assertEqual(testing.run(handle, event("a")).message("out.limit").json(), 1000)
        reason = testing.handler(handle, config={"limit": "much"}).run(event("a")).retried()
        text = "config `limit` cannot be `much`: invalid literal for int() with base 10: 'much'"
        self.assertEqual(reason, text)

    def test_a_verdict_that_is_returned_is_not_taken_for_done(self):
        reason = testing.run(lambda _: Reject("x"), event("a")).retried()
        self.assertTrue(reason.startswith("TypeError: the handler must return nothing, but it returned a Reject: "))

    def test_a_group_with_one_error_is_judged_as_that_error(self):
        class Group(Exception):
            exceptions = (Reject("x"),)

        self.assertEqual(raising(Group()).rejected(), "x")

    def test_an_assertion_shows_what_the_handler_raised(self):
        error = KeyError("order")
        with self.assertRaises(AssertionError) as caught:
            raising(error).done()
        self.assertIn("retry: KeyError: 'order'\nat ", str(caught.exception))
        self.assertIs(caught.exception.__cause__, error)


class Surroundings(unittest.TestCase):
    def test_the_context_is_that_of_the_event(self):
        def handle(event):
            self.assertEqual((context.attempt(), context.sequence(), context.deadline_ms()), (3, 41, 2000))
            self.assertEqual((context.stream(), context.handler()), ("SHOP", "credit"))
            self.assertEqual((event.id, context.correlation()), ("SHOP/41", "SHOP/7"))
            self.assertEqual((event.time, event.time_ns), (time, 1_500_000_000))
            self.assertEqual(event.headers, [("A", "1"), ("a", "2"), ("A", "3")])
            self.assertEqual((event.header("A"), event.header("B")), ("1", None))
            self.assertEqual(event.header_values("A"), ["1", "3"])
            self.assertEqual([event.token(i) for i in (0, 2, 3, -1)], ["x", "z", None, None])

        time = datetime.fromtimestamp(1.5, timezone.utc)
        headers = [("A", "1"), ("Nats-Msg-Id", "x"), ("a", "2"), ("A", "3")]
        given = event("x.y.z", attempt=3, sequence=41, correlation="SHOP/7", time=time, headers=headers)
        testing.handler(handle, stream="SHOP", name="credit").run(given).done()

    def test_levels_are_kept(self):
        def handle(_):
            for write in (log.trace, log.debug, log.info, log.warn, log.error):
                write(write.__name__)

        levels = [(line.level, line.message) for line in testing.run(handle, event("a")).logs]
        self.assertEqual(levels, [(name, name) for name in ("trace", "debug", "info", "warn", "error")])

    def test_random_numbers_are_a_matter_of_the_event(self):
        import random

        handler = testing.handler(lambda _: publish("out.n", [random.random(), random.randrange(1 << 60)]))
        first, other, again = (handler.run(event("a", sequence=n)).message("out.n").json() for n in (1, 2, 1))
        self.assertEqual(first, again)
        self.assertNotEqual(first, other)

    def test_outside_of_a_run_there_is_no_host(self):
        with self.assertRaisesRegex(RuntimeError, "within `heddle.testing`"):
            context.attempt()
        with self.assertRaisesRegex(RuntimeError, "within `heddle.testing`"):
            publish("out.x", 1)

    def test_all_names_are_there(self):
        for name in heddle.__all__:
            self.assertTrue(hasattr(heddle, name), name)


if __name__ == "__main__":
    unittest.main()
