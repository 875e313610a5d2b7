"""Tests of the handler. They need neither a server nor WebAssembly: `.venv/bin/python -m unittest`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))
