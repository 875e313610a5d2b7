"""A handler under test: its settings, and the state it keeps for each key."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from heddle import _host, _json, _run
from heddle.errors import Failure
from heddle.event import Event
from heddle.testing import key as keys
from heddle.testing.double import Limits, World
from heddle.testing.event import GivenEvent, default_time
from heddle.testing.run import Run, decode


def run(handle: _run.Handler, event: GivenEvent) -> Run:
    """Runs a handler once, with the defaults of `handler`."""
    return handler(handle).run(event)


def handler(
    handle: _run.Handler,
    *,
    key: str = "{subject}",
    publishes: Iterable[str] | None = None,
    config: Mapping[str, str] | None = None,
    limits: Limits | None = None,
    name: str = "handler",
    stream: str = "TEST",
) -> HandlerUnderTest:
    """A handler under test.

    - `key`: the template of the key, as in `heddle.toml`: `{subject}`, `{subject.2}`, `{header.Customer}`,
      `{payload./customer/id}` and `{event}`, which may be joined.
    - `publishes`: the subjects it may publish on, with `*` and `>`; by default every subject.
    - `config`: its settings, all of them texts.
    - `limits`: the limits it runs under.
    - `name`, `stream`: what it is called, and what it reads.
    """
    patterns = None if publishes is None else list(publishes)
    return HandlerUnderTest(handle, key, patterns, dict(config or {}), limits or Limits(), name, stream)


class HandlerUnderTest:
    """A handler that runs one event after another and keeps a state for each key. Made by `handler`."""

    def __init__(
        self,
        handle: _run.Handler,
        key: str,
        publishes: list[str] | None,
        config: Mapping[str, str],
        limits: Limits,
        name: str,
        stream: str,
    ) -> None:
        self._call = _run.caller(handle)
        self._key = key
        self._publishes = publishes
        self._config = config
        self._limits = limits
        self._name = name
        self._stream = stream
        self._states: dict[str, bytes] = {}
        self._last_sequence = 0

    def given_state(self, key: str, state: object) -> HandlerUnderTest:
        """Sets the state that earlier events of `key` have left, written as JSON."""
        self._states[key] = _json.write(state).encode()
        return self

    def given_state_bytes(self, key: str, state: bytes) -> HandlerUnderTest:
        """Sets the state that earlier events of `key` have left."""
        self._states[key] = state
        return self

    def state(self, key: str) -> Any:
        """The state of `key` as the events so far have left it, as JSON, or `None`."""
        value = self._states.get(key)
        return None if value is None else decode(value)

    def run(self, event: GivenEvent) -> Run:
        """Runs the next event. If it fails, its effects and its state are forgotten.

        `ValueError` if the event has no key: a host would not have run it.
        """
        sequence = self._last_sequence + 1 if event.sequence is None else event.sequence
        self._last_sequence = sequence
        shown = self._shown(event, sequence)
        world = self._world(event, shown, sequence)
        error = self._enter(world, shown)
        failure: Failure | None = None
        if error is not None:
            failure = _run.judge(error)
            world.messages, world.answer = [], None
        elif world.value is None:
            self._states.pop(shown.key, None)
        else:
            self._states[shown.key] = world.value
        return Run(failure, world.messages, world.answer, self._states.get(shown.key), world.logs, error)

    def _enter(self, world: World, event: Event) -> BaseException | None:
        """Lets the handler run in a world, and returns what it raised. Whoever stops the tests is heard."""
        outer = _host.current
        _host.current = world
        try:
            _reseed(f"{event.id} {self._name}")
            self._call(event)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return error
        finally:
            _host.current = outer
        return None

    def _shown(self, event: GivenEvent, sequence: int) -> Event:
        headers = [(name, value) for name, value in event.headers if not name.startswith("Nats-")]
        time_ns = default_time(sequence) if event.time_ns is None else event.time_ns
        shown = Event(f"{self._stream}/{sequence}", event.subject, "", time_ns, headers, event.payload)
        key = keys.of(self._key, shown) if event.key is None else event.key
        if key is None:
            raise ValueError(f"the event lacks what the key template `{self._key}` asks for")
        return Event(shown.id, shown.subject, key, time_ns, headers, shown.payload)

    def _world(self, event: GivenEvent, shown: Event, sequence: int) -> World:
        return World(
            name=self._name,
            stream_name=self._stream,
            event_sequence=sequence,
            event_attempt=event.attempt,
            event_correlation=event.correlation or shown.id,
            reply_to=shown.header("Heddle-Reply-To"),
            settings=self._config,
            publishes=self._publishes,
            limits=self._limits,
            value=self._states.get(shown.key),
        )


def _reseed(text: str) -> None:
    """The numbers of `random` are a matter of the event alone, as in a plugin, where they are others."""
    random = sys.modules.get("random")
    if random is not None:
        random.seed(text)
