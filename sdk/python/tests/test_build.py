"""What a build finds out about a project before it compiles."""

import os
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

from heddle import build

SDK = Path(build.__file__).parent.parent


class Projects(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.project = Path(folder.name).resolve() / "gifts"
        (self.project / "src").mkdir(parents=True)

    def write(self, path, text=""):
        file = self.project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def test_the_name_is_that_of_the_project_or_of_its_folder(self):
        self.assertEqual(build.project_name(self.project), "gifts")
        self.write(
            "pyproject.toml", '[build-system]\nname = "no"\n\n[project]\nversion = "1"\nname = "shop"\n\n[tool.x]\n'
        )
        self.assertEqual(build.project_name(self.project), "shop")
        self.write("pyproject.toml", '[tool.x]\nname = "no"\n')
        self.assertEqual(build.project_name(self.project), "gifts")

    def test_the_package_carries_the_contract(self):
        self.assertIn("package heddle:plugin@", (build.contract() / "heddle.wit").read_text(encoding="utf-8"))

    def test_a_project_without_a_handler_is_told(self):
        with self.assertRaisesRegex(build.Fault, "there is no `src/handler.py`"):
            build.build(self.project)

    def check(self, source):
        self.write("src/handler.py", source)
        arguments = [sys.executable, "-B", "-c", build._CHECK, "src", str(SDK)]
        done = subprocess.run(arguments, cwd=self.project, capture_output=True, text=True, env={**os.environ})
        return done.returncode, done.stderr.strip()

    def test_a_handler_of_the_right_shape_passes(self):
        for source in (
            "def handle(event): ...",
            "async def handle(event): ...",
            "def handle(event, more=1): ...",
            "def handle(*events): ...",
            "class H:\n    def __call__(self, event): ...\nhandle = H()",
            "import heddle\nprint('noise')\ndef handle(event): ...",
        ):
            self.assertEqual(self.check(source), (0, ""), source)

    def test_a_handler_of_another_shape_is_told(self):
        for source, problem in {
            "": "`src/handler.py` does not define `handle`",
            "handle = 5": "`handle` in `src/handler.py` must be a function, but it is of type int",
            "class handle: ...": "`handle` in `src/handler.py` must be a function, but it is a class",
            "def handle(): ...": "`handle` in `src/handler.py` must take one argument, the event: handle()",
            "def handle(a, b): ...": "`handle` in `src/handler.py` must take one argument, the event: handle(a, b)",
            "def handle(event): yield": "`handle` in `src/handler.py` is a generator",
        }.items():
            code, told = self.check(source)
            self.assertEqual((code, told[: len(problem)]), (1, problem))

    def test_a_handler_that_cannot_be_loaded_is_told_with_its_line(self):
        for source, problem in {
            "import nowhere": "ModuleNotFoundError: No module named 'nowhere'",
            "\ndef handle(event)": "SyntaxError: expected ':'",
            "from heddle import config\nconfig.get('a')": "RuntimeError: the host can only be called while",
            "import sys\nsys.exit(3)": "SystemExit: 3",
        }.items():
            code, told = self.check(source)
            self.assertEqual(code, 1)
            self.assertTrue(told.startswith("`src/handler.py` cannot be loaded:\n"), told)
            self.assertIn(problem, told)
            self.assertNotIn("build.py", told)

    def test_what_the_compiler_says_is_cut_to_what_matters(self):
        output = (
            'Traceback (most recent call last):\n  File "<string>", line 1, in <module>\n'
            'AssertionError: Traceback (most recent call last):\n  File "/0/heddle_entry.py", line 7, in <module>\n'
            '    import handler\n  File "/1/handler.py", line 1, in <module>\n    import ssl\n'
            "ModuleNotFoundError: No module named '_ssl'\n\n\nCaused by:\n    more\n\nStack backtrace:\n   0: x\n"
        )
        folders = [Path(".heddle/build/python"), Path("src"), SDK]
        told = build._readable(output, folders)
        self.assertTrue(
            told.startswith(
                '`src/handler.py` cannot be loaded in a plugin:\n  File "src/handler.py", line 1, in <module>\n'
                "    import ssl\nModuleNotFoundError: No module named '_ssl'\nnote: "
            ),
            told,
        )
        self.assertEqual(build._readable("odd\n", folders), "componentize-py failed:\nodd")
