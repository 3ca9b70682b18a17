"""Temporary folders: closed to others, gone after use, and after a kill gone at the next use."""

import signal
import subprocess
import sys
from pathlib import Path

from fornada.files.scratch import remove_leftovers, scratch_folder

_HOLDER = """
import sys, pathlib
from fornada.files.scratch import scratch_folder
with scratch_folder(pathlib.Path(sys.argv[1])) as folder:
    (folder / "model.keras").write_bytes(b"model")
    print(folder, flush=True)
    sys.stdin.read()
"""


def test_a_folder_is_closed_to_others_and_gone_after_use(tmp_path: Path) -> None:
    with scratch_folder(tmp_path) as folder:
        assert (tmp_path, 0o40700) == (folder.parent, folder.stat().st_mode)

    assert [] == list(tmp_path.iterdir())


def test_what_a_killed_process_left_is_removed_and_what_another_uses_stays(tmp_path: Path) -> None:
    # Given: a process with a folder, and what a user called similarly
    users = tmp_path / "fornada-demo"
    users.mkdir()
    command = [sys.executable, "-c", _HOLDER, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())

        # When, then
        remove_leftovers(tmp_path)
        assert b"model" == (folder / "model.keras").read_bytes()

        # When, then
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert folder.exists()
        remove_leftovers(tmp_path)
        assert [users] == list(tmp_path.iterdir())
