"""What a shape accepts, and how it says what it does not."""

import unittest
from dataclasses import dataclass, field
from typing import Any, Literal, Optional, Union

from heddle import DecodeError
from heddle.testing import event, run


@dataclass
class Line:
    item: str
    price: float = 0.0


@dataclass
class Order:
    order: str
    amount: int
    lines: list[Line] = field(default_factory=list)
    note: Optional[str] = None
    kind: Literal["a", "b"] = "a"
    more: Any = None

    def __post_init__(self):
        if self.amount < 1:
            raise ValueError(f"an amount of {self.amount}")


def read(shape, payload):
    seen = []
    given = run(lambda event: seen.append(event.json(shape)), event("a", text=payload))
    if isinstance(given.error, DecodeError):
        return given.rejected().removeprefix("cannot decode the payload: ")
    given.done()
    return seen[0]


class Shapes(unittest.TestCase):
    def test_a_dataclass_is_read_with_all_that_is_in_it(self):
        payload = '{"order":"o","amount":2,"lines":[{"item":"i","price":1}],"note":"n","kind":"b","more":[1],"odd":1}'
        self.assertEqual(read(Order, payload), Order("o", 2, [Line("i", 1.0)], "n", "b", [1]))
        self.assertEqual(read(Order, '{"order":"o","amount":2}'), Order("o", 2))

    def test_what_is_wrong_is_said_with_its_place(self):
        for payload, problem in {
            "[]": "expected an object, found a list",
            "null": "expected an object, found null",
            '{"order":"o"}': "`amount` is missing",
            '{"order":1,"amount":1}': "`order`: expected a string, found 1",
            '{"order":"o","amount":true}': "`amount`: expected an integer, found true",
            '{"order":"o","amount":1.0}': "`amount`: expected an integer, found 1.0",
            '{"order":"o","amount":0}': "an amount of 0",
            '{"order":"o","amount":1,"note":1}': "`note`: expected a string, found 1",
            '{"order":"o","amount":1,"kind":"c"}': "`kind`: expected one of 'a', 'b', found 'c'",
            '{"order":"o","amount":1,"lines":[{}]}': "`lines`: `item` is missing",
            '{"order":"o","amount":1,"lines":{}}': "`lines`: expected a list, found an object",
        }.items():
            self.assertEqual(read(Order, payload), problem, payload)

    def test_plain_shapes(self):
        self.assertEqual(read(dict[str, int], '{"a":1}'), {"a": 1})
        self.assertEqual(read(dict[str, int], '{"a":"1"}'), "expected an integer, found '1'")
        self.assertEqual(read(list[Union[int, str]], '[1,"a"]'), [1, "a"])
        self.assertEqual(read(float, "1"), 1.0)
        self.assertEqual(read(bool, "1"), "expected true or false, found 1")
        self.assertEqual(read(str, '"a"'), "a")

    def test_a_type_that_is_no_shape_is_a_fault_of_the_handler(self):
        given = run(lambda event: event.json(set[int]) and None, event("a", text="[]"))
        self.assertTrue(given.retried().startswith("TypeError: set[int] cannot be read from JSON"))
