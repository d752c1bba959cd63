# SPDX-License-Identifier: GPL-3.0-or-later
"""The names that the test uses, and the keys under which they lie in the bucket. The mapping is the
reference implementation of docs/formats/names.md, run from there."""
import os
import re

MARKER = ".emptyFolderPlaceholder"
KEY_MAX = 900
SPECIAL = ("%key=", "%obj=", "%key#", "%obj#")

_page = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../docs/formats/names.md")
_code = {}
with open(_page, encoding="utf-8") as _file:
    exec(re.search(r"^```python\n(.*?)^```$", _file.read(), re.S | re.M).group(1), _code)

PLAIN = ["a", "b", "c", "d", "e.txt", "f.c", "g", "h.bin"]
ODD = [
    "with space", " lead", "trail ", "ü", "日本.txt", "r\u00e9sum\u00e9.pdf", "a\u0301",
    "C#", "100%", "C=@23", "x=!y", "month=01", "tab\there", "new\nline", "back\\slash", "q\"uote",
    "\udcff\udcfe", "\U0001f600", "-rf", "...", ".hidden", "~", "a*b?", "semi;colon", "a,b", "%41",
    MARKER, "x" + MARKER, "k.chat", "L" * 255, "l" * 251 + ".txt", "ü" * 126, "日" * 84,
    # too long, plain and when escaped
    "M" * 256, "#" * 64, "ü" * 127,
    # these cannot be made
    "%key=a", "%obj=b",
]


def raw(name):
    return name.encode("utf-8", "surrogateescape")


def text(name):
    return name.decode("utf-8", "surrogateescape")


def component(name):
    """The part of a key for this name."""
    return _code["key"](raw(name)).decode("ascii")


def too_long(name):
    """Which errno tells it is not known before: too long for POSIX, or only when escaped."""
    return len(raw(name)) > 255 or len(component(name)) > 255


def key(path):
    return "/".join(component(name) for name in path)


def name_of(comp):
    return text(_code["name"](comp.encode("ascii")))
