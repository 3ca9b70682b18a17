"""The page on stores lists every code that Fornada knows, with its class and remedy."""

from collections import defaultdict
from pathlib import Path

from fornada.storage.s3.refusals.answers import MEANINGS

_PAGE = Path(__file__).parents[2] / "docs/operations/stores.md"


def test_each_code_is_on_the_page_with_its_error_and_remedy() -> None:
    codes = defaultdict(list)
    for code, meaning in MEANINGS.items():
        codes[meaning].append(f"`{code}`")
    expected = [
        f"| {', '.join(named)} | `{meaning.error.__name__}` | "
        f"{'yes' if meaning.error.may_pass_later else 'no'} | {meaning.fact}; {meaning.remedy} |"
        for meaning, named in codes.items()
    ]

    page = _PAGE.read_text(encoding="utf-8")
    table = page.partition("| Code | Error |")[2].partition("\n\n")[0]

    assert expected == table.splitlines()[2:]
