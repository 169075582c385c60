"""Texts that rules allow or refuse, for tables of requests."""

from __future__ import annotations

# The first and the last of C0, tab and line breaks, DEL, the first and the last of C1; and a line
# break at the end, before which some engines let `$` match.
CONTROL_CHARACTERS = [f"a{char}b" for char in "\x00\t\n\r\x1f\x7f\x80\x9f"] + ["a\n"]

# The same for texts of several lines; and those that they may have.
CONTROL_CHARACTERS_BUT_BREAKS = [f"a{char}b" for char in "\x00\x08\x0b\x0c\x0e\x1f\x7f\x80\x9f"]
LINES = ["one\n\ttwo\r\nthree", "\n", "\t"]

# Names that nobody can see: white space, what is ignored when it is shown (the first and the last of each
# range of Default_Ignorable_Code_Point), the blank of Braille, and several of them.
INVISIBLE = [
    *("   ", "\u00a0", "\u1680", "\u2000", "\u200a", "\u2028", "\u2029", "\u202f", "\u205f", "\u3000 \u2003"),
    *("\u00ad", "\u034f", "\u061c", "\u115f", "\u1160", "\u17b4", "\u17b5", "\u180b", "\u180f"),
    *("\u200b", "\u200f", "\u202a", "\u202e", "\u2060", "\u206f", "\u3164", "\ufe00", "\ufe0f", "\ufeff"),
    *("\uffa0", "\ufff0", "\ufff8", "\U0001bca0", "\U0001bca3", "\U0001d173", "\U0001d17a"),
    *("\U000e0000", "\U000e0001", "\U000e0fff", "\u2800", " \u200b\u2800\u00ad\u3164 "),
]

# The neighbours of those, a mark without a letter, and one visible character among invisible ones.
VISIBLE = [
    *("!", "\u00a1", "\u00ac", "\u00ae", "\u034e", "\u0350", "\u061b", "\u061d", "\u115e", "\u1161"),
    *("\u167f", "\u1681", "\u17b3", "\u17b6", "\u180a", "\u1810", "\u1fff", "\u2010", "\u2027"),
    *("\u2030", "\u205e", "\u2070", "\u27ff", "\u2801", "\u2fff", "\u3001", "\u3163", "\u3165"),
    *("\ufdff", "\ufe10", "\ufefe", "\uff00", "\uff9f", "\uffa1", "\uffef", "\ufff9", "\ufffd"),
    *("\U0001bc9f", "\U0001bca4", "\U0001d172", "\U0001d17b", "\U000dffff", "\U000e1000", "\ue000"),
    *("\u0301", "\u200b.\u2060", "\u3164\U0001f600"),
]
