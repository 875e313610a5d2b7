"""An error and its stack as text, for operators.

    ValueError: no such order
    at total (src/handler.py:12)
    at handle (src/handler.py:7)
    caused by KeyError: 'o-1'
    at total (src/handler.py:10)

The innermost frame comes first. The frames of this package and those of the event loop below the handler are left
out. Source files are not opened: in a plugin there are none.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from itertools import groupby
from types import CodeType, TracebackType

MOST_FRAMES = 40
"""Of a deeper stack the middle is left out."""

MOST_CAUSES = 10

Frame = tuple[CodeType, int]
"""A function and a line of it. Lists of them begin with the outermost."""

_SDK = os.path.dirname(os.path.abspath(__file__)) + os.sep
_source: str | None = None


def set_source(folder: str) -> None:
    """Names the folder of the project's modules, which is shown as `src`."""
    global _source
    _source = folder.rstrip("/") + "/"


def report(error: BaseException) -> str:
    """The error, its stack, and the errors behind it."""
    lines = [headline(error), *stack(error)]
    for cause in _causes(error):
        lines.append(f"caused by {headline(cause)}")
        lines.extend(stack(cause))
    return "\n".join(lines)


def headline(error: BaseException) -> str:
    """`<Kind>: <message>` on one line."""
    kind = type(error).__qualname__
    try:
        text = " ".join(str(error).split("\n"))
    except Exception:
        text = "(its message cannot be made)"
    if isinstance(error, ModuleNotFoundError) and _source is not None:
        text += " (a plugin has what was imported while it was built: import it at the top of the module)"
    return f"{kind}: {text}" if text else kind


def stack(error: BaseException) -> list[str]:
    """The frames of an error, the innermost first."""
    frames = _frames(error.__traceback__)
    while frames and "/asyncio/" in frames[0][0].co_filename.replace(os.sep, "/"):
        frames.pop(0)
    return told(frames)


def told(frames: list[Frame]) -> list[str]:
    """Frames as lines, the innermost first."""
    lines = _collapsed(_frame(code, line) for code, line in reversed(frames))
    if len(lines) > MOST_FRAMES:
        half = MOST_FRAMES // 2
        lines[half:-half] = [f"… {len(lines) - 2 * half} frames left out"]
    return lines


def _collapsed(lines: Iterable[str]) -> list[str]:
    """Says of equal lines in a row, as recursion makes them, how many there are."""
    collapsed: list[str] = []
    for line, run in groupby(lines):
        times = len(list(run))
        collapsed.extend([line] * times if times <= 3 else [line, f"… {times - 1} times more"])
    return collapsed


def forget(error: BaseException) -> None:
    """Lets go of the frames of an error and of those behind it, so that nothing they hold outlives the event."""
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and one.__traceback__ is not None:
            one.__traceback__ = None
            waiting += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]


def _frames(traceback: TracebackType | None) -> list[Frame]:
    frames: list[Frame] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if not code.co_filename.startswith(_SDK):
            frames.append((code, traceback.tb_lineno))
        traceback = traceback.tb_next
    return frames


def _frame(code: CodeType, line: int) -> str:
    name = getattr(code, "co_qualname", code.co_name)
    return f"at {name} ({_shown(code.co_filename)}:{line})"


def _shown(path: str) -> str:
    """The path below the project, or below the folder that Python found it in."""
    if _source is not None and path.startswith(_source):
        return "src/" + path[len(_source) :]
    here = "" if _source is not None else os.getcwd()
    folders = [entry for entry in (here, *sys.path) if entry and path.startswith(entry.rstrip(os.sep) + os.sep)]
    if here in folders:
        folders = [here]
    longest = max(folders, key=len, default="")
    return path[len(longest) :].lstrip(os.sep) if longest else path


def _causes(error: BaseException) -> list[BaseException]:
    """The errors behind an error, the nearest first. No error comes twice."""
    causes: list[BaseException] = []
    seen = {id(error)}
    waiting = _behind(error)
    while waiting and len(causes) < MOST_CAUSES:
        cause = waiting.pop(0)
        if id(cause) not in seen:
            seen.add(id(cause))
            causes.append(cause)
            waiting = _behind(cause) + waiting
    return causes


def _behind(error: BaseException) -> list[BaseException]:
    inner = getattr(error, "exceptions", ())
    behind = [one for one in inner if isinstance(one, BaseException)] if isinstance(inner, tuple) else []
    if error.__cause__ is not None:
        behind.append(error.__cause__)
    elif error.__context__ is not None and not error.__suppress_context__:
        behind.append(error.__context__)
    return behind
