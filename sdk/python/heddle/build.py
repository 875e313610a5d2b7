"""Makes the plugin of a project: `python -m heddle.build`, run in the project's folder with its interpreter.

It checks `src/handler.py`, and writes `dist/<name>.wasm`. The name is that of `[project]` in `pyproject.toml`, or
that of the folder. Intermediate files go to `.heddle/build`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import NoReturn

COMPILER = "0.25.1"
"""The version of componentize-py that this package is made for."""

ENTRY = "heddle_entry"

_ENTRY_TEXT = '''\
"""Made by `python -m heddle.build`."""

import sys

sys.dont_write_bytecode = True  # beside the sources, it would be for another Python than the project's

from heddle import _entropy

_entropy.install()

import handler
from heddle._plugin import export

Handler = export(handler)
'''

_CHECK = """\
import sys
sys.path[:0] = sys.argv[1:]
from heddle import build
build.check_handler()
"""


class Fault(Exception):
    """What is wrong with the project, and what to do about it."""


def main() -> None:
    """Builds the project in the current folder. Ends with 1 and a message if it cannot."""
    try:
        target = build(Path.cwd())
    except Fault as fault:
        print(f"error: {fault}", file=sys.stderr)
        sys.exit(1)
    print(f"built {target}")


def build(project: Path) -> Path:
    """Builds a project. Returns the path of the plugin, relative to the project."""
    source = project / "src"
    if not (source / "handler.py").is_file() and not (source / "handler" / "__init__.py").is_file():
        raise Fault("there is no `src/handler.py` in this folder; it must define `handle(event)`")
    _check_compiler()
    _check_in_process(project, source)
    work = project / ".heddle" / "build"
    entry = work / "python"
    entry.mkdir(parents=True, exist_ok=True)
    (entry / f"{ENTRY}.py").write_text(_ENTRY_TEXT)
    name = project_name(project)
    made = work / f"{name}.wasm"
    _compile(project, contract(), [entry, source, _package_folder()], made)
    target = Path("dist") / f"{name}.wasm"
    (project / "dist").mkdir(exist_ok=True)
    os.replace(made, project / target)
    return target


def contract() -> Path:
    """The folder of `heddle.wit`, which this package carries."""
    folder = Path(__file__).resolve().parent / "wit"
    if not (folder / "heddle.wit").is_file():
        raise Fault(f"the contract is not at `{folder}`: the package `heddle-sdk` is not whole, so install it again")
    return folder


def project_name(project: Path) -> str:
    """The name in `pyproject.toml`, or that of the folder."""
    file = project / "pyproject.toml"
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    table = re.search(r"^\[project\]\s*$(.*?)(?=^\[|\Z)", text, re.MULTILINE | re.DOTALL)
    name = re.search(r"""^name\s*=\s*["']([^"'/\\]+)["']""", table.group(1), re.MULTILINE) if table else None
    return name.group(1) if name else project.resolve().name


def check_handler() -> None:
    """Loads the module `handler` and checks that it can be called with an event. For a process of its own."""
    import inspect
    import traceback

    try:
        import handler  # type: ignore[import-not-found]
    except BaseException as error:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if not frame.filename.startswith((str(Path(__file__).parent), "<"))]
        lines = [*traceback.format_list(own), *traceback.format_exception_only(type(error), error)]
        _refuse("`src/handler.py` cannot be loaded:\n" + "".join(lines).rstrip())
    handle = getattr(handler, "handle", None)
    where = os.path.relpath(handler.__file__ or "src/handler.py")
    if handle is None:
        _refuse(f"`{where}` does not define `handle`; write `def handle(event: Event) -> None:`")
    if not callable(handle) or inspect.isclass(handle):
        found = "a class" if inspect.isclass(handle) else f"of type {type(handle).__name__}"
        _refuse(f"`handle` in `{where}` must be a function, but it is {found}")
    if inspect.isgeneratorfunction(handle) or inspect.isasyncgenfunction(handle):
        _refuse(f"`handle` in `{where}` is a generator: it must not `yield`")
    try:
        inspect.signature(handle).bind(object())
    except TypeError:
        _refuse(
            f"`handle` in `{where}` must take one argument, the event: {handle.__name__}{inspect.signature(handle)}"
        )


def _refuse(problem: str) -> NoReturn:
    print(problem, file=sys.stderr)
    sys.exit(1)


def _check_in_process(project: Path, source: Path) -> None:
    arguments = [sys.executable, "-B", "-c", _CHECK, str(source), str(_package_folder())]
    done = subprocess.run(arguments, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise Fault(done.stderr.strip() or f"`src/handler.py` cannot be loaded (exit code {done.returncode})")


def _check_compiler() -> None:
    try:
        found = metadata.version("componentize-py")
    except metadata.PackageNotFoundError:
        found = "not installed"
    if found != COMPILER:
        raise Fault(
            f"componentize-py {COMPILER} is needed, but for `{sys.executable}` it is {found}: "
            "run `python3 -m venv .venv && .venv/bin/pip install -r requirements.txt` once, "
            "and build with `.venv/bin/python`"
        )


def _compile(project: Path, wit: Path, folders: list[Path], made: Path) -> None:
    arguments = ["--quiet", "--wit-path", str(wit), "--world", "plugin", "componentize", ENTRY]
    for folder in folders:
        arguments += ["--python-path", str(folder)]
    arguments += ["--output", str(made)]
    run = "import sys; from componentize_py import script; sys.argv[0] = 'componentize-py'; sys.exit(script())"
    # The compiler looks for the packages of an environment by the first variable.
    environment = {**os.environ, "VIRTUAL_ENV": sys.prefix, "RUST_BACKTRACE": "0"}
    done = subprocess.run(
        [sys.executable, "-B", "-c", run, *arguments],
        cwd=project, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if done.returncode != 0 or not made.is_file():
        raise Fault(_readable(done.stdout, folders))


def _readable(output: str, folders: list[Path]) -> str:
    """What the compiler says, without its own stack, and with the paths of the project in place of the sandbox's."""
    told = output.split("\nCaused by:")[0].split("\nStack backtrace:")[0].strip()
    if "AssertionError: " not in told:
        return f"componentize-py failed:\n{told}"
    told = told.split("AssertionError: ", 1)[1]
    told = re.sub(rf'  File "/0/{ENTRY}\.py".*\n(    .*\n)*', "", told)
    for index, folder in enumerate(folders):
        told = told.replace(f'"/{index}/', f'"{os.path.relpath(folder)}/')
    told = told.replace("Traceback (most recent call last):\n", "").strip("\n")
    return (
        f"`src/handler.py` cannot be loaded in a plugin:\n{told}\n"
        "note: a plugin holds pure Python packages and most of the standard library; it has no files and no network "
        "while it is loaded"
    )


def _package_folder() -> Path:
    return Path(__file__).resolve().parent.parent


if __name__ == "__main__":
    main()
