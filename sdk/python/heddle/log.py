"""Log lines. They carry the event's id and the handler's name and are bounded in length and number for each event.

What is printed goes to the handler's log as well: standard output at the level info, standard error at warn. So do
the records of the module `logging`, from the level that it is set to; that is warning, if nothing else is set.
"""

from __future__ import annotations

from heddle import _host
from heddle._text import plain

TRACE, DEBUG, INFO, WARN, ERROR = range(5)


def trace(message: object) -> None:
    """Every step."""
    _host.current.log(TRACE, plain(str(message)))


def debug(message: object) -> None:
    """For whoever looks for a fault."""
    _host.current.log(DEBUG, plain(str(message)))


def info(message: object) -> None:
    """What happens in the ordinary course."""
    _host.current.log(INFO, plain(str(message)))


def warn(message: object) -> None:
    """Something is odd and nothing is lost."""
    _host.current.log(WARN, plain(str(message)))


def error(message: object) -> None:
    """Something is lost, or someone must act."""
    _host.current.log(ERROR, plain(str(message)))
