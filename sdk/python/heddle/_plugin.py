"""Makes a module's `handle` the handler of a plugin. Called once, at build time, after the module was loaded.

What is in memory then is the start of every instance.
"""

# mypy: ignore-errors
from __future__ import annotations

import codecs
import importlib
import os
import sys
from types import ModuleType

from heddle import _entropy, _host, _run, _trace, _wasm
from heddle._text import plain


def export(module: ModuleType) -> type:
    """The class that the contract's export is looked up in."""
    _preload()
    call = _run.caller(module.handle)
    seed = _entropy.seeder()
    read_event = _wasm.read_event
    _trace.set_source(_folder(module))
    _route_output()
    _host.current = _wasm

    class Handler:
        def handle(self, e):
            _entropy.begin(e.id)
            if seed is not None:
                seed(_entropy.seed(e.id, _wasm.handler()))
            try:
                return call(read_event(e))
            except BaseException as error:
                failure = _run.judge(error)
                _trace.forget(error)
            raise _wasm.write_failure(failure)

    return Handler


def _preload() -> None:
    """Loads what the standard library loads when it is first needed. In an instance that would be too late."""
    for name in ("_strptime", "linecache", "traceback"):
        importlib.import_module(name)
    for name in ("ascii", "latin-1", "cp1252", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "idna"):
        codecs.lookup(name)


def _folder(module: ModuleType) -> str:
    folder = os.path.dirname(module.__file__)
    return os.path.dirname(folder) if hasattr(module, "__path__") else folder


def _route_output() -> None:
    """The host takes lines of standard output and error. Records of `logging` keep their level."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8", errors="replace")
    logging = sys.modules.get("logging")
    if logging is None:
        return

    class Records(logging.Handler):
        def emit(self, record):
            _host.current.log(min(max(record.levelno // 10, 0), 4), plain(self.format(record)))

    logging.lastResort = Records()
