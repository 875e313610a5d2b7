"""The conformance guest: does what the second token of the subject asks for."""

import asyncio
import json
import random
import sys
import time
from dataclasses import dataclass
from typing import Any

from heddle import (
    DecodeError,
    Defer,
    EffectError,
    Event,
    Reject,
    Retry,
    config,
    context,
    log,
    publish,
    publish_bytes,
    publish_text,
    reply_text,
    state,
)

handled = 0


async def handle(event: Event) -> None:
    verb = event.token(1)
    if verb in WAITING:
        await WAITING[verb](event)
    elif verb in VERBS:
        VERBS[verb](event)
    else:
        raise Reject(f"unknown verb `{verb}`")


def out(event: Event) -> str:
    return f"out.{event.token(1)}.{event.key}"


def echo(event: Event) -> None:
    headers = [(name, value) for name, value in event.headers if may_publish(name)]
    publish_bytes(out(event), event.payload, headers=headers[:64])


def may_publish(name: str) -> bool:
    lower = name.lower()
    return not lower.startswith(("nats-", "heddle-")) and lower != "traceparent"


def headers(event: Event) -> None:
    publish(out(event), event.headers)


def text(event: Event) -> None:
    text = event.text()
    publish(out(event), {"chars": len(text), "reversed": text[::-1]})


@dataclass
class Greeted:
    name: str
    n: int


def greet(event: Event) -> None:
    greeted = event.json(Greeted)
    publish(out(event), {"greeting": "hello " + greeted.name, "next": greeted.n + 1})


@dataclass
class Wish:
    verdict: str
    reason: str = ""
    delay_ms: int = 0


def verdict(event: Event) -> None:
    wish = event.json(Wish)
    publish_text(out(event), "forgotten")
    match wish.verdict:
        case "done":
            return
        case "retry":
            raise Retry(wish.reason)
        case "defer":
            raise Defer(wish.delay_ms / 1000, wish.reason)
        case "reject":
            raise Reject(wish.reason)
    raise DecodeError("payload", f"unknown verdict `{wish.verdict}`")


def count(event: Event) -> None:
    publish(out(event), state.update(lambda count: count + 1, default=0))


@dataclass
class Fate:
    times: int
    verdict: str


def fail(event: Event) -> None:
    """Fails at as many attempts as the event says, and counts after that."""
    fate = event.json(Fate)
    if context.attempt() > fate.times:
        return count(event)
    match fate.verdict:
        case "retry":
            raise Retry("asked to")
        case "reject":
            raise Reject("asked to")
    deeper("asked to")


@dataclass
class Step:
    op: str
    value: Any = None


def keep(event: Event) -> None:
    step = event.json(Step)
    match step.op:
        case "set":
            state.set_text(step.value)
        case "set-bytes":
            state.set_bytes(bytes(step.value))
        case "clear":
            state.clear()
    held = state.get_bytes()
    try:
        text = state.get_text()
    except DecodeError:
        text = None
    publish(out(event), {"state": text, "bytes": None if held is None else len(held)})


def later(event: Event) -> None:
    publish_text(out(event), "later", delay=event.json()["seconds"])


def answer(event: Event) -> None:
    reply_text(event.text(), headers={"X-Probe": "yes"})


def tell_context(event: Event) -> None:
    seconds, nanoseconds = divmod(event.time_ns, 1_000_000_000)
    publish(
        out(event),
        {
            "id": event.id,
            "subject": event.subject,
            "key": event.key,
            "attempt": context.attempt(),
            "stream": context.stream(),
            "sequence": context.sequence(),
            "handler": context.handler(),
            "correlation": context.correlation(),
            "time_s": seconds,
            "time_ns": nanoseconds,
            "deadline": 0 < context.deadline_ms() <= 60_000,
        },
    )


def tell_config(event: Event) -> None:
    publish(out(event), config.get(event.text()))


def write_log(event: Event) -> None:
    log.trace("at trace")
    log.debug("at debug")
    log.info("at info")
    log.warn("at warn")
    log.error("at error")
    print("printed out")
    print("printed err", file=sys.stderr)


def throw(event: Event) -> None:
    deeper(event.text())


def deeper(message: str) -> None:
    deep(message)


def deep(message: str) -> None:
    raise ValueError(message)


def refused(event: Event) -> None:
    publish_text("secret.x", "x")


def caught(event: Event) -> None:
    try:
        publish_text("secret.x", "x")
    except EffectError as error:
        publish(out(event), {"kind": error.kind, "text": str(error)})
    try:
        state.set_bytes(bytes(1_000_000))
    except EffectError as error:
        publish(out(event), {"kind": error.kind, "limit": error.limit})


def many(event: Event) -> None:
    for i in range(event.json()["n"]):
        publish_text(out(event), str(i))


def large(event: Event) -> None:
    publish_bytes(out(event), b"\x61" * event.json()["bytes"])


def loop(event: Event) -> None:
    while True:
        pass


def allocate(event: Event) -> None:
    kept = []
    while True:
        kept.append(bytearray(b"\x01") * 1_000_000)


def recurse(event: Event) -> None:
    recurse(event)


def clock(event: Event) -> None:
    publish(out(event), {"now_ms": time.time_ns() // 1_000_000})


def draw(event: Event) -> None:
    publish(out(event), [random.random(), random.random(), random.random()])


def add_to_global(event: Event) -> None:
    global handled
    handled += 1
    publish(out(event), handled)


async def wait(event: Event) -> None:
    for _ in range(3):
        await nothing()
    await asyncio.sleep(0.010)
    publish_text(out(event), json.dumps("awaited"))


async def nothing() -> None:
    pass


async def never(event: Event) -> None:
    await asyncio.get_running_loop().create_future()


VERBS = {
    "echo": echo,
    "headers": headers,
    "text": text,
    "json": greet,
    "verdict": verdict,
    "count": count,
    "fail": fail,
    "state": keep,
    "later": later,
    "reply": answer,
    "context": tell_context,
    "config": tell_config,
    "log": write_log,
    "throw": throw,
    "refused": refused,
    "caught": caught,
    "many": many,
    "large": large,
    "loop": loop,
    "allocate": allocate,
    "recurse": recurse,
    "clock": clock,
    "random": draw,
    "global": add_to_global,
}

WAITING = {"async": wait, "never": never}
