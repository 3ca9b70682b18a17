"""The door to the terminal, on a real one: what passes it is text."""

import os
import pty
import re
import subprocess
import sys

_HOSTILE = "[red]a[/x]\x1b[2J\x9b31m\u202e:smile:\nerror: all is well"
_SHOWN = r"[red]a[/x]\x1b[2J\x9b31m\u202e:smile:\nerror: all is well"
#: Those of our own labels and log lines.
_COLOURS = re.compile("\x1b\\[[0-9;]*m")
_CODE = f"""
import logging
import click
from fornada import logs
from fornada.commands.output import print_table, say, say_error, say_misuse, text_stdout
hostile = {_HOSTILE!r}
say(hostile, label=hostile)
say_error(hostile)
say_misuse(click.UsageError(hostile[:12]))
print_table([(hostile, 1)], header=(hostile, "n"))
stream = text_stdout()
stream.write((hostile[:12] + "\\r\\n").encode())
stream.flush()
logs.configure(level="INFO", log_format="auto")
log = logs.get_logger("there")
try:
    raise ValueError(hostile)
except ValueError:
    log.exception(hostile, word="\\x1b]0; x\\x07", several=[hostile])
logging.getLogger("library").warning(hostile)
"""


def test_nothing_that_others_wrote_reaches_a_terminal_as_more_than_text() -> None:
    # Given
    ours, theirs = pty.openpty()

    # When
    environ = {**os.environ, "COLUMNS": "400"}
    with subprocess.Popen([sys.executable, "-c", _CODE], stdout=theirs, stderr=theirs, env=environ):
        os.close(theirs)
        shown = _read(ours)
    os.close(ours)

    # Then
    lines = _COLOURS.sub("", shown).replace("\r\n", "\n").split("\n")
    assert [] == [line for line in lines if not line.isprintable()]
    assert _SHOWN * 2 == lines[0]
    first, second = _SHOWN.split(r"\n")
    assert [f"error: {first}", f"  {second}"] == lines[1:3]
    assert 1 == sum(line.startswith("error: ") for line in lines)
    assert 2 == sum(line.split() == [*_SHOWN.split(), each] for line in lines for each in "n1")
    assert 1 == sum(r"word='\x1b]0; x\x07'" in line for line in lines)


def _read(terminal: int) -> str:
    read = b""
    while True:
        try:
            part = os.read(terminal, 65_536)
        except OSError:
            # Linux reports so that the other end is closed.
            part = b""
        if not part:
            return read.decode()
        read += part
