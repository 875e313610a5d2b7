"""The code of the README: the handler is defined, and the test of it passes."""

import re
import sys
import types
import unittest
from pathlib import Path

README = Path(__file__).parent.parent / "README.md"


class Readme(unittest.TestCase):
    def test_what_the_readme_shows_runs(self):
        blocks = re.findall(r"^```python\n(.*?)^```", README.read_text(encoding="utf-8"), re.M | re.S)
        self.assertEqual(len(blocks), 2, "a handler, and a test of it")
        handler, test = (types.ModuleType(name) for name in ("handler", "readme_test"))
        self.addCleanup(sys.modules.pop, "handler", None)
        self.addCleanup(sys.modules.pop, "readme_test", None)
        for module, code in zip((handler, test), blocks):
            # Data classes ask for the module that they are defined in.
            sys.modules[module.__name__] = module
            exec(compile(code, README.name, "exec"), module.__dict__)
        suite = unittest.defaultTestLoader.loadTestsFromModule(test)
        result = unittest.TestResult()
        suite.run(result)
        self.assertEqual((result.testsRun, result.errors, result.failures), (1, [], []))
