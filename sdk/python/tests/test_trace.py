"""Errors as operators see them."""

import re
import unittest

from heddle import testing
from heddle.testing import event


def reason(handle):
    text = testing.run(handle, event("a")).retried()
    return [re.sub(r"\S*<locals>\.", "", line) for line in re.sub(r":\d+\)", ":N)", text).split("\n")]


class Traces(unittest.TestCase):
    def test_the_innermost_frame_comes_first_and_none_is_of_this_package(self):
        def deep():
            raise ValueError("boom\ntwo")

        def handle(event):
            deep()

        self.assertEqual(
            reason(handle),
            ["ValueError: boom two", "at deep (tests/test_trace.py:N)", "at handle (tests/test_trace.py:N)"],
        )

    def test_lines_are_those_of_the_source(self):
        def handle(event):
            raise ValueError  # the line after that of `def`

        text = testing.run(handle, event("a")).retried()
        line = handle.__code__.co_firstlineno + 1
        self.assertTrue(text.endswith(f"handle (tests/test_trace.py:{line})"), text)
        self.assertEqual(text.split("\n")[0], "ValueError")

    def test_causes_follow(self):
        def handle(event):
            try:
                try:
                    {}["order"]
                except KeyError as error:
                    raise LookupError("no order") from error
            except LookupError:
                raise RuntimeError("no")

        self.assertEqual(
            reason(handle),
            [
                "RuntimeError: no",
                "at handle (tests/test_trace.py:N)",
                "caused by LookupError: no order",
                "at handle (tests/test_trace.py:N)",
                "caused by KeyError: 'order'",
                "at handle (tests/test_trace.py:N)",
            ],
        )

    def test_a_cause_that_is_hidden_stays_hidden(self):
        def handle(event):
            try:
                {}["order"]
            except KeyError:
                raise RuntimeError("no") from None

        self.assertEqual(reason(handle), ["RuntimeError: no", "at handle (tests/test_trace.py:N)"])

    def test_recursion_is_one_line(self):
        def handle(event):
            handle(event)

        first, frame, more = reason(handle)[:3]
        self.assertTrue(first.startswith("RecursionError: "))
        self.assertEqual(frame, "at handle (tests/test_trace.py:N)")
        self.assertRegex(more, r"^… \d+ times more$")

    def test_a_deep_stack_loses_its_middle(self):
        def odd(n):
            return even(n - 1)

        def even(n):
            return odd(n - 1) if n else 1 // 0

        lines = reason(lambda event: even(100))
        self.assertEqual(len(lines), 42)
        self.assertIn("… 62 frames left out", lines)

    def test_an_error_whose_text_cannot_be_made_is_still_reported(self):
        class Odd(Exception):
            def __str__(self):
                raise ValueError

        def handle(event):
            raise Odd

        self.assertEqual(reason(handle)[0].split(".")[-1], "Odd: (its message cannot be made)")

    def test_frames_of_the_standard_library_are_shown_by_their_module(self):
        import json

        def handle(event):
            json.loads("x")

        self.assertRegex("\n".join(reason(handle)), r"\nat (JSONDecoder\.)?decode \(json/decoder\.py:N\)\n")
