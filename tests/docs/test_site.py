"""The site of a release: it builds without a warning, and every link leads somewhere."""

import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]


class _Page(HTMLParser):
    """The links and anchors of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors = {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in {"href", "src"} and value:
                self.links.append(value)
            elif name == "id" and value:
                self.anchors.add(value)


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `mike` makes of this tree for the version 0.1: the branch that is served."""
    folder = tmp_path_factory.mktemp("site")
    git = ["git", "-c", "user.name=us", "-c", "user.email=us@example.com", "-C", str(folder)]
    listed = subprocess.run(
        ["git", "-C", ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
    )
    for name in filter(None, listed.stdout.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)
    for arguments in (["init", "-q"], ["add", "."], ["commit", "-qm", "A release"]):
        subprocess.run([*git, *arguments], check=True)
    made = subprocess.run(
        [Path(sys.executable).with_name("mike"), "deploy", "--update-aliases", "0.1", "latest"],
        cwd=folder,
        env=os.environ
        | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "NO_MKDOCS_2_WARNING": "1",
            "GIT_COMMITTER_NAME": "us",
            "GIT_COMMITTER_EMAIL": "us@example.com",
        },
        capture_output=True,
        text=True,
    )
    assert 0 == made.returncode, made.stderr
    assert "WARNING" not in made.stderr, made.stderr
    subprocess.run([*git, "checkout", "-q", "gh-pages"], check=True)
    return folder


@pytest.mark.slow
def test_a_release_has_its_own_copy_and_an_alias(release: Path) -> None:
    (version,) = json.loads((release / "versions.json").read_text())

    assert ("0.1", ["latest"]) == (version["version"], version["aliases"])
    assert (release / "latest" / "index.html").is_file()


@pytest.mark.slow
def test_every_page_of_the_repository_is_on_the_site(release: Path) -> None:
    names = {"README.md": "index", "docs/README.md": "index"}
    pages = [
        path.relative_to(ROOT) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    ]

    missing = []
    for page in pages:
        name = names.get(str(page), str(page.with_suffix("")).removeprefix("docs/").lower())
        place = release / "0.1" / ("" if name == "index" else name) / "index.html"
        if not place.is_file():
            missing.append(place)
    assert [] == missing


@pytest.mark.slow
def test_every_link_of_the_site_leads_somewhere(release: Path) -> None:
    pages = {path: _Page(path) for path in (release / "0.1").rglob("index.html")}
    assert len(pages) > 50

    broken = []
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            anchors = pages[target].anchors if target in pages else {"", parts.fragment}
            if not target.is_file() or unquote(parts.fragment) not in anchors:
                broken.append(f"{path.relative_to(release)}: {link}")
    assert [] == broken


@pytest.mark.slow
def test_what_pages_link_to_outside_the_docs_is_there_as_text(release: Path) -> None:
    source = release / "0.1" / "source"

    for name in ("worker/process.py", "docker-compose.yml", "deploy/.env.example"):
        assert (ROOT / name).read_text() == (source / f"{name}.txt").read_text(), name
    # A folder is the list of its files.
    assert "watchdog.py\n" in (source / "worker/host.txt").read_text()


@pytest.mark.slow
def test_the_contents_are_the_chapters_of_the_index(release: Path) -> None:
    home = (release / "0.1" / "index.html").read_text(encoding="utf-8")
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    chapters = [line.removeprefix("## ") for line in index.splitlines() if line.startswith("## ")]

    places = [home.find(f"{chapter}\n") for chapter in chapters]

    assert len(chapters) > 5
    assert -1 not in places
    assert sorted(places) == places
