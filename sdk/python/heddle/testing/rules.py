"""What the contract forbids, as pure functions. Each raises `Refusal`."""

from __future__ import annotations

from collections.abc import Sequence

from heddle._host import Headers, Refusal

MOST_HEADERS = 64

RESERVED = ("$", "_heddle.", "_INBOX.", "dead.")
"""Subjects that begin so are the server's or the host's."""


def check_subject(subject: str, publishes: Sequence[str] | None) -> None:
    """A subject on which a handler may publish."""
    problem = None
    if "" in subject.split("."):
        problem = "has an empty token"
    elif any(char.isspace() or _is_control(char) for char in subject):
        problem = "has a space or a control character"
    elif "*" in subject or ">" in subject:
        problem = "has a wildcard"
    elif subject.startswith(RESERVED):
        problem = "is reserved"
    if problem is not None:
        raise Refusal("invalid", f"subject `{_escaped(subject)}` {problem}")
    if publishes is not None and not any(covers(pattern, subject) for pattern in publishes):
        raise Refusal("not-granted", f"subject `{subject}` is outside of `publishes`")


def check_headers(headers: Headers) -> None:
    """The headers of a message or a reply."""
    if len(headers) > MOST_HEADERS:
        raise Refusal("invalid", f"{len(headers)} headers, more than {MOST_HEADERS}")
    for name, value in headers:
        _check_header(name, value)


def _check_header(name: str, value: str) -> None:
    lower = name.lower()
    if not name:
        problem = "has no name"
    elif not all("!" <= char <= "~" and char != ":" for char in name):
        problem = "has a name that is not of plain characters"
    elif lower.startswith(("nats-", "heddle-")) or lower == "traceparent":
        problem = "is set by the host alone"
    elif any(char in value for char in "\r\n\0"):
        problem = "has a line break in its value"
    else:
        return
    raise Refusal("invalid", f"header `{_escaped(name)}` {problem}")


def covers(pattern: str, subject: str) -> bool:
    """Whether a pattern with `*` and `>` covers a subject."""
    parts, tokens = pattern.split("."), subject.split(".")
    for index, part in enumerate(parts):
        if index >= len(tokens):
            return False
        if part == ">":
            return True
        if part not in ("*", tokens[index]):
            return False
    return len(parts) == len(tokens)


def _is_control(char: str) -> bool:
    return ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0


_ESCAPES = {"\0": "\\0", "\t": "\\t", "\r": "\\r", "\n": "\\n", "'": "\\'", '"': '\\"', "\\": "\\\\"}


def _escaped(text: str) -> str:
    return "".join(_ESCAPES.get(char) or (char if char.isprintable() else f"\\u{{{ord(char):x}}}") for char in text)
