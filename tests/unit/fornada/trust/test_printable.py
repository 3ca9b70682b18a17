"""What others wrote, shown: nothing of it moves a cursor, ends a line or turns text round."""

import json
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from fornada.trust.printable import printable, printable_json, printable_lines

_JOINERS = "\u200c\u200d"
#: Control characters, what changes the direction of text, line ends, halves of characters.
_ACTS = ({"Cc", "Cs", "Zl", "Zp"}, {"RLO", "LRO", "RLE", "LRE", "PDF", "RLI", "LRI", "FSI", "PDI"})


def _acts(letter: str) -> bool:
    return unicodedata.category(letter) in _ACTS[0] or unicodedata.bidirectional(letter) in _ACTS[1]


@given(st.text(st.characters(codec=None)))
def test_no_character_that_acts_is_printed(text: str) -> None:
    shown = printable(text), printable_json(text), *printable_lines(text).split("\n")

    assert [] == [line for line in shown if any(map(_acts, line))]
    assert text == json.loads(printable_json(text))
    shown[0].encode()


def test_characters_that_act_are_named_and_all_others_stay() -> None:
    for text, shown in (
        ("see \x1b[31m", r"see \x1b[31m"),
        ("a\r\nb\tc\x00\x7f\x9b", r"a\r\nb\tc\x00\x7f\x9b"),
        ("exe.\u202egpj", r"exe.\u202egpj"),
        ("[/x] [link=http://x]here[/link] :smile:", "[/x] [link=http://x]here[/link] :smile:"),
        (f"Ünïcode 日本語 नि{_JOINERS} \U0001f469\u200d\U0001f680 C:\\new", None),
    ):
        assert (shown or text) == printable(text)


def test_lines_after_the_first_are_indented() -> None:
    assert "cannot read\n  error: \\x1b[2J" == printable_lines("cannot read\nerror: \x1b[2J")
