"""Runs each `fornada` command in a fork of a process that has imported everything.

Each goes through `fornada.commands.router.main`, as `fornada` itself does. A line of stdin is a
command as JSON: `arguments`, `environ`, `cwd`, and the files `stdout` and `stderr` to write. A line
of stdout is its exit code, as `os.waitstatus_to_exitcode` says.
"""

import gc
import importlib
import json
import os
import sys
from typing import Any

import boto3

from fornada.commands import router

from ..boto_files import read_once

#: What commands import late.
_LATE = ("celery.fixups.django", "celery.worker.worker", "PIL.Image")


def serve() -> None:
    """Run one command after the other until stdin ends."""
    for target in router._COMMANDS.values():
        importlib.import_module(target.module)
    for module in _LATE:
        importlib.import_module(module)
    # The first client imports and reads what later ones share.
    boto3.session.Session().client("s3", region_name="us-east-1").close()
    # Else each command, at its end, goes through everything that is imported: 300 ms of CPU.
    gc.freeze()
    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if child == 0:
            _become(command)
            router.main(command["arguments"])
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _become(command: dict[str, Any]) -> None:
    """Give this process the command's environment, folder and streams."""
    os.environ.clear()
    os.environ.update(command["environ"])
    os.chdir(command["cwd"])
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    for number, path in enumerate((os.devnull, command["stdout"], command["stderr"])):
        opened = os.open(path, os.O_RDONLY if number == 0 else flags, 0o600)
        os.dup2(opened, number)
        os.close(opened)


if __name__ == "__main__":
    with read_once():
        serve()
