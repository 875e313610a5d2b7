"""Lets setuptools work in a temporary folder, so that an install leaves nothing behind in this one."""

import tempfile

from setuptools import setup

with tempfile.TemporaryDirectory(prefix="heddle-sdk-") as scratch:
    setup(options={"build": {"build_base": scratch}, "egg_info": {"egg_base": scratch}})
