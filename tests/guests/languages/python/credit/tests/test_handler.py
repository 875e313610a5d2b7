import unittest

from handler import handle
from heddle import testing


def credit(limit="200"):
    return testing.handler(handle, key="{subject.2}", publishes=["credit.*.*"], config={"limit": limit})


def created(order, amount):
    return testing.event("order.created.c1", json={"order": order, "item": "loom", "amount": amount})


def cancelled(order):
    return testing.event("order.cancelled.c1", json={"order": order, "amount": 1, "reason": "discontinued"})


class Credit(unittest.TestCase):
    def test_credit_is_reserved_up_to_the_limit_and_no_further(self):
        handler = credit()
        account = {"order": "o-1", "amount": 120, "reserved": 120, "limit": 200}
        self.assertEqual(handler.run(created("o-1", 120)).done().message("credit.reserved.c1").json(), account)
        account = {"order": "o-2", "amount": 81, "reserved": 120, "limit": 200}
        self.assertEqual(handler.run(created("o-2", 81)).done().message("credit.exceeded.c1").json(), account)
        self.assertEqual(handler.run(created("o-3", 80)).done().subjects, ["credit.reserved.c1"])
        self.assertEqual(handler.state("c1"), {"o-1": 120, "o-3": 80})

    def test_a_cancelled_order_gives_back_what_it_had_once(self):
        handler = credit()
        handler.run(created("o-1", 120)).done()
        handler.run(created("o-2", 30)).done()
        account = {"order": "o-1", "amount": 120, "reserved": 30, "limit": 200}
        self.assertEqual(handler.run(cancelled("o-1")).done().message("credit.released.c1").json(), account)
        self.assertEqual(handler.run(cancelled("o-1")).done().messages, [])
        self.assertEqual(handler.state("c1"), {"o-2": 30})

    def test_a_customer_without_reservations_has_no_state(self):
        handler = credit()
        handler.run(created("o-1", 120)).done()
        self.assertIsNone(handler.run(cancelled("o-1")).done().state_bytes)

    def test_an_order_reserves_once(self):
        handler = credit()
        handler.run(created("o-1", 10)).done()
        self.assertEqual(handler.run(created("o-1", 10)).rejected(), "order `o-1` has a reservation already")

    def test_an_amount_that_is_none_is_a_reject(self):
        for amount in (0, -1, "1", None, 1 << 64):
            self.assertIn("cannot decode the payload: `amount`: ", credit().run(created("o-1", amount)).rejected())

    def test_a_limit_that_is_no_number_is_tried_again(self):
        reason = credit("much").run(created("o-1", 1)).retried()
        self.assertTrue(reason.startswith("config `limit` cannot be `much`: "), reason)


if __name__ == "__main__":
    unittest.main()
