"""What the double refuses, and the keys it makes."""

import unittest

from heddle._host import Refusal
from heddle.event import Event
from heddle.testing import event, handler, key, rules


def refused(check, *arguments):
    try:
        check(*arguments)
    except Refusal as refusal:
        return refusal.detail
    return None


class Subjects(unittest.TestCase):
    def test_only_plain_subjects_pass(self):
        self.assertIsNone(refused(rules.check_subject, "order.created.c1", None))
        for problem, subjects in {
            "has an empty token": ("", ".a", "a.", "a..b"),
            "has a wildcard": ("a.*", "a.>", "a.b*"),
            "is reserved": ("$JS.API.INFO", "_heddle.shop.claim.1", "_INBOX.x", "dead.shop.credit.a"),
            "has a space or a control character": ("a b", "a\u2003b"),
        }.items():
            for subject in subjects:
                told = refused(rules.check_subject, subject, None)
                self.assertTrue(told.startswith("subject `") and told.endswith(f"` {problem}"), told)
        told = refused(rules.check_subject, "a\r\nb\x7f", None)
        self.assertEqual(told, "subject `a\\r\\nb\\u{7f}` has a space or a control character")

    def test_only_subjects_within_publishes_pass(self):
        def granted(subject):
            return refused(rules.check_subject, subject, ["order.*.c1", "credit.>"]) is None

        for subject in ("order.created.c1", "credit.reserved.c1"):
            self.assertTrue(granted(subject), subject)
        for subject in ("order.created.c2", "order.created", "order.created.c1.x", "credit"):
            self.assertFalse(granted(subject), subject)


class Headers(unittest.TestCase):
    def test_headers_of_the_host_are_refused(self):
        self.assertIsNone(refused(rules.check_headers, [("Priority", "low")]))
        for name in ("Nats-Rollup", "nats-msg-id", "Heddle-Cause", "traceparent", "TraceParent"):
            self.assertEqual(refused(rules.check_headers, [(name, "x")]), f"header `{name}` is set by the host alone")

    def test_headers_that_would_break_the_wire_are_refused(self):
        for pair in (("", "x"), ("a:b", "x"), ("a b", "x"), ("a\r\n", "x"), ("a", "x\r\nb: c"), ("ä", "x")):
            self.assertIsNotNone(refused(rules.check_headers, [pair]), pair)

    def test_a_message_has_at_most_64_headers(self):
        self.assertIsNone(refused(rules.check_headers, [("a", "b")] * 64))
        self.assertEqual(refused(rules.check_headers, [("a", "b")] * 65), "65 headers, more than 64")


class Keys(unittest.TestCase):
    def check(self, template, expected):
        payload = b'\xef\xbb\xbf{"customer":{"id":"c3","n":4,"list":["x",1.0,100000000000000000001]},"yes":true}'
        given = Event("SHOP/7", "order.created.c1", "", 0, [("Customer", "c2")], payload)
        self.assertEqual(key.of(template, given), expected, template)

    def test_a_template_takes_its_parts_from_the_event(self):
        self.check("{subject}", "order.created.c1")
        self.check("{subject.2}", "c1")
        self.check("{header.Customer}", "c2")
        self.check("{payload./customer/id}", "c3")
        self.check("{payload./customer/n}", "4")
        self.check("{payload./customer/list/0}", "x")
        self.check("{payload./customer/list/1}", "1.0")
        self.check("{payload./customer/list/2}", "100000000000000000001")
        self.check("{payload./yes}", "true")
        self.check("{event}", "SHOP/7")
        self.check("a-{subject.0}-{subject.2}", "a-order-c1")

    def test_an_event_that_lacks_a_part_has_no_key(self):
        for template in ("{subject.3}", "{header.customer}", "{payload./customer}", "{payload./no}"):
            self.check(template, None)
        with self.assertRaisesRegex(ValueError, "the event lacks what the key template `{subject.3}` asks for"):
            handler(print, key="{subject.3}").run(event("a"))

    def test_a_template_that_is_none_fails_the_test(self):
        for template in ("{topic}", "{subject.x}", "{subject", "{}"):
            with self.assertRaisesRegex(ValueError, "key template `"):
                self.check(template, None)
