"""Texts as the contract can carry them."""

from __future__ import annotations


def plain(text: str) -> str:
    """The text with a `?` for every lone surrogate, which UTF-8 cannot carry."""
    if text.isascii():
        return text
    return text.encode("utf-8", "replace").decode()
