"""Another commit of Fornada becomes further contenders of a run."""

from pathlib import Path

import click
import pytest

from benchmarks.commits import beside, checked_out
from benchmarks.registry import Contender

_ROOT = Path(__file__).parents[3]


def test_contenders_of_fornada_stand_beside_the_same_at_the_commit(tmp_path: Path) -> None:
    plain, ours = (
        Contender(name=kind, label=kind, module="m", workloads=("mlp",), kind=kind)
        for kind in ("peer", "fornada")
    )

    found = beside([plain, ours], commit="main", root=tmp_path)

    assert ["peer", "fornada", "fornada@main"] == [contender.name for contender in found]
    assert [None, None, tmp_path] == [contender.root for contender in found]


@pytest.mark.skipif(not (_ROOT / ".git").exists(), reason="no git repository")
def test_files_of_a_commit_are_there_for_the_length_of_the_block(tmp_path: Path) -> None:
    with checked_out("HEAD", cache=tmp_path) as root:
        assert (root / "pyproject.toml").exists()
        assert tmp_path == root.parent

    assert not root.exists()


@pytest.mark.skipif(not (_ROOT / ".git").exists(), reason="no git repository")
def test_a_commit_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    with (
        pytest.raises(click.UsageError, match="no commit 'nosuch' to compare with: "),
        checked_out("nosuch", cache=tmp_path),
    ):
        pass
