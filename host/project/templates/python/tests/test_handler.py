import unittest

from handler import handle
from heddle import testing


class Gifts(unittest.TestCase):
    def test_every_third_order_earns_a_gift(self):
        handler = testing.handler(handle, key="{subject.2}", publishes=["gift.earned.*"])
        placed = testing.event("order.placed.ada", json={"order": "o-1"})
        self.assertEqual(handler.run(placed).done().messages, [])
        self.assertEqual(handler.run(placed).done().messages, [])
        gift = handler.run(placed).done().message("gift.earned.ada")
        self.assertEqual(gift.json(), {"order": "o-1", "number": 1})

    def test_an_order_without_a_name_is_given_up(self):
        run = testing.run(handle, testing.event("order.placed.ada", json={}))
        self.assertEqual(run.rejected(), "cannot decode the payload: `order` is missing")
