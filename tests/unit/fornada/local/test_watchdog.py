"""The watchdog: whom it ends, and whom it leaves alone."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fornada.local import watchdog
from fornada.local.children import ProcessMark

_FOR_EVER = "import threading; threading.Event().wait()"


@pytest.fixture
def stray() -> Iterator[subprocess.Popen[bytes]]:
    """A process that leads its own session, as worker processes do."""
    with subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _FOR_EVER], start_new_session=True
    ) as process:
        yield process
        process.kill()


def test_it_ends_the_groups_that_were_not_forgotten_the_youngest_first() -> None:
    lines = ["+11\n", "+12\n", "+13\n", "-12\n", "+14\n"]

    assert [14, 13, 11] == watchdog.watch(lines)


def test_when_the_parent_is_gone_it_ends_the_group(
    stray: subprocess.Popen[bytes], tmp_path: Path
) -> None:
    argv = [sys.executable, "-I", "-S", watchdog.__file__, str(tmp_path)]
    with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(f"+{stray.pid}\n".encode())

        process.stdin.close()

        assert -signal.SIGTERM == stray.wait(10)
        assert 0 == process.wait(10)


def test_a_worker_that_shows_life_is_ended(stray: subprocess.Popen[bytes], tmp_path: Path) -> None:
    (tmp_path / "host-1.json").write_text(json.dumps({"pid": stray.pid}))

    watchdog.end_strays(tmp_path, grace_s=0.2)

    assert -signal.SIGTERM == stray.wait(10)


def test_an_old_sign_of_life_proves_nothing(stray: subprocess.Popen[bytes], tmp_path: Path) -> None:
    sign = tmp_path / "host-1.json"
    sign.write_text(json.dumps({"pid": stray.pid}))
    os.utime(sign, (0, 0))

    watchdog.end_strays(tmp_path, grace_s=0.2)

    assert stray.poll() is None


@pytest.mark.parametrize("content", ["", "{", "{}", '{"pid": "x"}', '{"pid": null}', "[]"])
def test_files_that_are_no_signs_are_passed_over(tmp_path: Path, content: str) -> None:
    (tmp_path / "host-1.json").write_text(content)

    watchdog.end_strays(tmp_path, grace_s=0.2)


def test_a_later_process_of_the_same_number_is_told_apart(stray: subprocess.Popen[bytes]) -> None:
    mark = ProcessMark.of(stray.pid)
    assert mark.lives()

    stray.kill()
    stray.wait()

    assert not mark.lives()
    assert not ProcessMark(pid=os.getpid(), began_s=0.0).lives()
    assert not ProcessMark.of(stray.pid).lives()
