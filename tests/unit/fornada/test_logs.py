"""Log lines: on stderr only, in one format, including those of libraries."""

import json
import logging
import subprocess
import sys

from fornada.logs.once import Once

_CODE = """
import logging
from fornada import logs
logs.configure(level={level!r}, log_format={log_format!r})
log = logs.get_logger("worker.shards.service")
log.debug("hardly", shard=1)
log.info("shard finished", shard=3, duration_s=0.41)
logging.getLogger("botocore").debug("body %s", b"pixels")
logging.getLogger("botocore").warning("retry %d", 2, extra={{"color_message": "\\x1b[36m"}})
logging.getLogger("celery.app.trace").info("succeeded")
logging.getLogger("opentelemetry.trace.span").warning("no such member: %s", "from a caller")
secret_key = "hunter" + "2"
try:
    try:
        float("pix" + "els")
    except ValueError as exc:
        raise OSError("who knows") from exc
except OSError:
    log.exception("failed")
"""


def _run(level: str, log_format: str) -> subprocess.CompletedProcess[str]:
    # In its own process, because logging is configured globally.
    code = _CODE.format(level=level, log_format=log_format)
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)


def test_off_a_terminal_each_line_is_one_json_object() -> None:
    done = _run("INFO", "auto")

    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert ["shard finished", "retry 2", "failed"] == [line["event"] for line in lines]
    assert ("worker.shards.service", "info", 3, 0.41) == tuple(
        lines[0][name] for name in ("logger", "level", "shard", "duration_s")
    )
    assert lines[0]["timestamp"].endswith("Z")
    assert ("botocore", "warning") == (lines[1]["logger"], lines[1]["level"])
    assert "color_message" not in lines[1]
    # An error whose text may quote data is named.
    assert "line 15, in <module>\nValueError\n\nThis led to:\n\n" in lines[2]["exception"]
    assert lines[2]["exception"].endswith("line 17, in <module>\nOSError: who knows")
    assert "" == done.stdout


def test_for_people_a_line_begins_with_the_time_and_is_not_json() -> None:
    done = _run("INFO", "console")

    first = done.stderr.splitlines()[0]
    assert "shard finished" in first
    assert "duration_s=0.41" in first
    assert "\x1b" not in done.stderr
    assert "" == done.stdout
    # A traceback does not show what variables hold.
    assert "OSError: who knows" in done.stderr
    assert "hunter2" not in done.stderr
    assert "pixels" not in done.stderr


def test_less_than_the_level_is_not_logged() -> None:
    lines = [json.loads(line)["event"] for line in _run("WARNING", "json").stderr.splitlines()]

    assert ["retry 2", "failed"] == lines


def test_in_another_application_lines_go_where_its_logging_sends_them() -> None:
    # given an application that has set up logging, and structlog for itself
    code = (
        "import logging, structlog, sys\n"
        "logging.basicConfig(format='%(name)s %(message)s %(shard)s', stream=sys.stderr)\n"
        "structlog.configure(processors=[lambda *_: (_ for _ in ()).throw(ValueError)])\n"
        "from fornada import logs\n"
        "logs.get_logger('producer.client').warning('enqueued later', shard=3)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)

    assert ("", "producer.client enqueued later 3\n") == (done.stdout, done.stderr)


def test_at_debug_our_own_code_tells_more_and_libraries_do_not() -> None:
    done = _run("DEBUG", "json")

    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert ["hardly", "shard finished", "retry 2", "failed"] == events
    assert "pixels" not in done.stderr


_SHARDS = """
import logging, sys, threading
from concurrent.futures import ThreadPoolExecutor
from fornada import logs
from fornada.parallel import in_parallel
logs.configure(level="INFO", log_format="json")
log = logs.get_logger("worker.shards.service")
library = logging.getLogger("botocore")
def shard(number):
    with logs.bound(job_id="job", shard=number, attempt="a" * 32):
        list(in_parallel(lambda n: library.warning("retry %d", n), [number, number]))
        log.info("shard finished", status="ok")
        log.info("shard finished", status="ok", shard=7)
with ThreadPoolExecutor(2) as pool:
    list(pool.map(shard, [1, 2]))
log.warning("away", error="store")
log.warning("away", error="store")
log.warning("away", error="other")
log.error("away", error="store")
"""


def test_lines_say_whose_they_are_and_the_same_one_is_written_once() -> None:
    # given shards at a time whose work is shared among threads, and libraries that log there
    done = subprocess.run(
        [sys.executable, "-c", _SHARDS], check=True, capture_output=True, text=True
    )

    lines = [json.loads(line) for line in done.stderr.splitlines()]
    of_shards = [line for line in lines if line["event"] != "away"]
    assert {("job", "a" * 32)} == {(line["job_id"], line["attempt"]) for line in of_shards}
    # what a line itself says wins over what is bound
    said = sorted((line["event"], line["shard"]) for line in of_shards)
    assert [("retry 1", 1), ("retry 2", 2), *(("shard finished", n) for n in (1, 2, 7))] == said
    assert [("warning", "store"), ("warning", "other"), ("error", "store")] == [
        (line["level"], line["error"]) for line in lines if line["event"] == "away"
    ]


def test_a_line_that_comes_again_says_how_many_were_left_out() -> None:
    now_s = 0.0
    once = Once(clock=lambda: now_s)

    def written(text: str, **fields: object) -> int | None:
        """`more_times_since`, 0 if it has none; `None` if it is not written."""
        record = logging.makeLogRecord({"msg": text, "levelno": logging.WARNING, **fields})
        return vars(record).get("more_times_since", 0) if once.filter(record) else None

    assert [0, None, None] == [written("away", error="x") for _ in range(3)]
    now_s = 9.9
    assert (None, 0) == (written("away", error="x"), written("away", error="y"))
    now_s = 10.1
    assert [3, None] == [written("away", error="x") for _ in range(2)]
    # and what is remembered is bounded
    assert [0] * 5000 == [written("away", error=number) for number in range(5000)]
    assert 0 == written("away", error="x")
    # and what cannot be written in words is left to the handler
    assert 0 == written("%d", args=("x",))
