"""Make the site's pages and links from the repository's: mkdocs.yml calls this.

docs/README.md is the table of contents. Links are written as GitHub follows them; those that leave
docs/ lead to a page made from the file, or to its text.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
#: Pages from outside docs/, by their place on the site.
PAGES = {
    "index.md": ROOT / "README.md",
    "contributing.md": ROOT / "CONTRIBUTING.md",
    "security.md": ROOT / "SECURITY.md",
    "changelog.md": ROOT / "CHANGELOG.md",
}
_CONTENTS = DOCS / "README.md"
_PLACES = {path: uri for uri, path in PAGES.items()} | {_CONTENTS: "index.md"}
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<=\]\()(?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?(?=\))")


def on_config(config: MkDocsConfig) -> None:
    """Take the navigation from the table of contents: its sections, and their pages in order."""
    text = _CONTENTS.read_text(encoding="utf-8")
    nav: list[dict[str, str | list[dict[str, str]]]] = [{"Home": "index.md"}]
    for chapter, section in re.findall(r"^## (.+)\n((?:(?!## ).*\n?)*)", text, re.MULTILINE):
        paths = [(DOCS / target).resolve() for target, _ in _LINK.findall(section)]
        nav.append(
            {chapter: [{_title(path): _uri(path)} for path in paths if path.suffix == ".md"]}
        )
    config.nav = nav


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside docs/, and what pages link to there."""
    for uri, path in PAGES.items():
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    sources = [_source(file) for file in files if file.is_documentation_page()]
    for path in {path for source in sources for path in _elsewhere(source)}:
        uri = _uri(path)
        if uri.endswith(".txt"):
            files.append(File.generated(config, uri, content=_as_text(path)))
        else:
            files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Point links to where their targets are on the site."""
    source, here = _source(page.file), Path(page.file.src_uri).parent

    def moved(link: re.Match[str]) -> str:
        return os.path.relpath(_place(source, link[1]), here) + (link[2] or "")

    # Every second part is a fenced block; what stands behind its language is for our tests.
    parts = re.split(f"({_FENCED.pattern})", markdown, flags=_FENCED.flags)
    parts[::2] = [_LINK.sub(moved, part) for part in parts[::2]]
    parts[1::2] = [re.sub(r"^(```\w+) .*", r"\1", part) for part in parts[1::2]]
    return "".join(parts)


def _title(path: Path) -> str:
    """The heading of a page; some begin with a comment."""
    heading = re.search(r"^# (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert heading is not None, path  # noqa: S101 - the build ends with the page's name
    return heading[1].replace("`", "")


def _source(file: File) -> Path:
    """The file of the repository that a page is made from."""
    return PAGES.get(file.src_uri, DOCS / file.src_uri)


def _elsewhere(source: Path) -> Iterator[Path]:
    """What the page links to outside docs/, except pages."""
    for target, _ in _LINK.findall(_FENCED.sub("", source.read_text(encoding="utf-8"))):
        path = (source.parent / target).resolve()
        if not path.is_relative_to(DOCS) and path not in _PLACES:
            yield path


def _place(source: Path, target: str) -> str:
    """Where the target of a link in `source` is on the site."""
    return _uri((source.parent / target).resolve())


def _uri(path: Path) -> str:
    if path in _PLACES:
        return _PLACES[path]
    if path.is_dir() and path.is_relative_to(DOCS):
        path = min(path.glob("*.md"))
    if path.is_relative_to(DOCS):
        return path.relative_to(DOCS).as_posix()
    uri = f"source/{path.relative_to(ROOT).as_posix()}"
    return uri if path.suffix == ".png" else f"{uri}.txt"


def _as_text(path: Path) -> str:
    """A file's text, or the names in a folder."""
    if path.is_file():
        return path.read_text(encoding="utf-8")
    hidden = ("__pycache__", "secrets")
    return "".join(f"{each.name}\n" for each in sorted(path.iterdir()) if each.name not in hidden)
