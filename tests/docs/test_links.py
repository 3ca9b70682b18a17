"""Links, paths, modules and make targets that the docs name exist."""

import importlib
import re
from collections.abc import Iterator
from pathlib import Path

from fornada import keys

ROOT = Path(__file__).parents[2]
#: A path or a module of ours in backticks.
_NAMED = re.compile(
    r"`((?:fornada|model_store|producer|worker|trainer|tests|docs|benchmarks|deploy)"
    r"(?:(?:/[\w.*-]+)+/?|(?:\.\w+)+))(?:::\w+…?)?`"
)
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def prose(page: Path) -> str:
    """The text of `page` without its fenced blocks."""
    text = page.read_text(encoding="utf-8")
    return re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)


def links(page: Path) -> Iterator[tuple[str, str]]:
    """Target and anchor of every link in `page` that stays in the repository."""
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            yield path, anchor


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of `page`."""
    headings = re.findall(r"^#{1,6} (.+)$", prose(page), re.MULTILINE)
    plain = [re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower() for heading in headings]
    return {re.sub(r"[^\w\- ]", "", heading).replace(" ", "-") for heading in plain}


def is_there(name: str) -> bool:
    """Whether a path, a name that a package exports, or a module (of a name) exists."""
    if "/" in name:
        return any(ROOT.glob(name.rstrip("/")))
    package, module = name.split(".")[:2]
    if module in getattr(importlib.import_module(package), "__all__", ()):
        return True
    return any((ROOT / package / module).with_suffix(suffix).exists() for suffix in ("", ".py"))


def test_links_lead_somewhere() -> None:
    broken = []
    for page in PAGES:
        for path, anchor in links(page):
            target = (page.parent / path).resolve() if path else page
            inside = target.is_relative_to(ROOT) and target.exists()
            if not inside or (anchor and anchor not in anchors(target)):
                broken.append(f"{page.name}: {path}#{anchor}")

    assert [] == broken


def test_paths_and_modules_that_the_docs_name_exist() -> None:
    # The changelog tells of what was.
    missing = {
        f"{page.name}: {name}"
        for page in PAGES
        if page.name != "CHANGELOG.md"
        for name in _NAMED.findall(page.read_text(encoding="utf-8"))
        if name != keys.TASK_RUN_SHARD and not is_there(name)
    }

    assert set() == missing


def test_make_targets_that_the_docs_name_exist() -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = {
        name
        for page in PAGES
        for code in re.findall(
            r"`(make [a-z -]+)`|^\$ (make .*)$", page.read_text(encoding="utf-8"), re.MULTILINE
        )
        for name in "".join(code).split()[1:]
    }

    assert set() == named - set(targets)


def test_every_page_is_in_the_index() -> None:
    # given
    index = ROOT / "docs" / "README.md"
    linked = {(index.parent / path).resolve() for path, _ in links(index) if path}

    # then
    assert [] == [page for page in PAGES if page not in {index, *linked}]
