"""The forms in which names are compared. A name itself is kept as it was sent."""

from __future__ import annotations

from unicodedata import normalize


def composed(text: str) -> str:
    """Return a text with each accent in one character with its letter, where there is one (NFC)."""
    return normalize("NFC", text)


def folded(text: str) -> str:
    """Return what is left of a text without case, composed.

    Two texts have it in common where they are a canonical caseless match (Unicode Standard, section 3.13,
    D145). That has it decomposed; here a letter isn't to be found in the same one with an accent.
    """
    return composed(normalize("NFD", text).casefold())
