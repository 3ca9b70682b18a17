"""The page on webhooks says what is sent, and its code verifies it."""

import json
import re
import shutil
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from fornada.jobs.outcome import JobFinal
from gateway.webhooks.deliveries import JobEndedEvent

PAGE = (Path(__file__).parents[2] / "docs/webhooks.md").read_text(encoding="utf-8")
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WITH_NODE = pytest.mark.skipif(shutil.which("node") is None, reason="Node.js is not installed")


def code(language: str, number: int = 0) -> str:
    """A block of the page."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[number]


#: The secret, the headers, the body.
_Case = tuple[str, dict[str, str], bytes]


def _judged_in_python(cases: list[_Case]) -> list[bool]:
    names: dict[str, Any] = {}
    exec(code("python"), names)
    return [names["is_genuine"](*case) for case in cases]


def _judged_in_node(cases: list[_Case], folder: Path) -> list[bool]:
    (folder / "page.mjs").write_text(code("javascript"), encoding="utf-8")
    (folder / "judge.mjs").write_text(
        'import { isGenuine } from "./page.mjs";\n'
        'import { readFileSync } from "node:fs";\n'
        "const judge = ([secret, headers, body]) =>\n"
        '  isGenuine(secret, headers, Buffer.from(body, "hex"));\n'
        "console.log(JSON.stringify(JSON.parse(readFileSync(0)).map(judge)));\n",
        encoding="utf-8",
    )
    given = json.dumps([(secret, headers, body.hex()) for secret, headers, body in cases])
    command = ["node", str(folder / "judge.mjs")]
    answer = subprocess.run(command, input=given, capture_output=True, text=True, check=True)
    judged: list[bool] = json.loads(answer.stdout)
    return judged


@pytest.mark.parametrize("language", ["python", pytest.param("node", marks=WITH_NODE)])
def test_its_code_takes_what_is_signed_and_nothing_else(language: str, tmp_path: Path) -> None:
    text = '{"ü": 1}'
    body = text.encode()

    def call(at: datetime) -> dict[str, str]:
        return {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": "v1a,other " + Webhook(SECRET).sign("msg_1", at, text),
        }

    good, old = call(datetime.now(UTC)), call(datetime.fromtimestamp(time.time() - 400, UTC))
    cases: list[_Case] = [
        (SECRET, good, body),
        (SECRET, good, body + b" "),
        (SECRET, {**good, "webhook-id": "msg_2"}, body),
        ("whsec_" + "A" * 32, good, body),
        (SECRET, old, body),
    ]

    judged = _judged_in_python(cases) if language == "python" else _judged_in_node(cases, tmp_path)

    assert [True, False, False, False, False] == judged


def test_what_is_sent_looks_like_that() -> None:
    shown = json.loads(code("json", 1))
    ended_at = datetime.fromisoformat(shown["data"]["ended_at"])
    final = JobFinal(
        schema_version=3,
        job_id=shown["data"]["id"],
        state="PARTIAL",
        reason=shown["data"]["reason"],
        started_at=datetime.fromisoformat(shown["data"]["started_at"]),
        ended_at=ended_at,
        last_outcome_at=ended_at,
        shards_ok=1,
        shards_dead=0,
        shards_missing=0,
        items_ok=997,
        items_failed=3,
        attempts=1,
        outcome_ranges=[[0, 0]],
        dead_ranges=[],
        outcomes_sha256="0" * 64,
    )

    assert shown == json.loads(JobEndedEvent.of(final).model_dump_json())
