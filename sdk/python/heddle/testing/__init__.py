"""Runs a handler without a host, under the same contract.

Within a run, `publish`, `state` and the others reach a double of the host. It judges effects by the rules of the
contract, and forgets them if the handler fails.

    from heddle import testing
    from handler import handle

    def test_every_third_order_earns_a_gift():
        handler = testing.handler(handle, key="{subject.2}", publishes=["gift.earned.*"])
        placed = testing.event("order.placed.ada", json={"order": "o-1"})
        assert handler.run(placed).done().messages == []
        assert handler.run(placed).done().messages == []
        assert handler.run(placed).done().message("gift.earned.ada").json() == {"order": "o-1", "number": 1}

What does not hold is an `AssertionError`, so it works with `unittest` and `pytest` alike. One run at a time: do not
run handlers in several threads at once.
"""

from heddle.testing.double import Limits
from heddle.testing.event import GivenEvent, event
from heddle.testing.handler import HandlerUnderTest, handler, run
from heddle.testing.run import LogLine, Published, Run

__all__ = ["GivenEvent", "HandlerUnderTest", "Limits", "LogLine", "Published", "Run", "event", "handler", "run"]
