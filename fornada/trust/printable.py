"""Text that others wrote, as it may be shown: control characters are escapes."""

import json
import re

#: What moves a terminal's cursor, sends it commands, ends a line, reverses the direction of
#: text, or hides it. The joiners U+200C and U+200D stay, since scripts and emoji need them.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def printable(text: str) -> str:
    r"""`text` on one line, with control characters as `\n`, `\x1b` or `\u202e`."""
    return _UNPRINTABLE.sub(_escape, text)


def printable_lines(text: str) -> str:
    """`text` as lines, each as `printable` has it.

    All but the first are indented, so that none looks like a line of its own.
    """
    return "\n  ".join(map(printable, text.split("\n")))


def printable_json(value: object) -> str:
    """`value` as JSON on one line, in the letters of all scripts."""
    # In JSON these characters stand in strings only, where an escape means the same.
    return _UNPRINTABLE.sub(_json_escape, json.dumps(value, ensure_ascii=False))


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()


def _json_escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
