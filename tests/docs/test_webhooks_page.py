"""The page on webhooks says what is sent, and its code verifies it."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
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


def _genuine_in_python() -> Callable[..., bool]:
    names: dict[str, Any] = {}
    exec(code("python"), names)
    genuine: Callable[..., bool] = names["is_genuine"]
    return genuine


def _genuine_in_node(folder: Path) -> Callable[..., bool]:
    (folder / "page.mjs").write_text(code("javascript"), encoding="utf-8")
    (folder / "ask.mjs").write_text(
        'import { isGenuine } from "./page.mjs";\n'
        'import { readFileSync } from "node:fs";\n'
        "const { secret, headers, body } = JSON.parse(readFileSync(0));\n"
        'console.log(isGenuine(secret, headers, Buffer.from(body, "hex")));\n',
        encoding="utf-8",
    )

    def genuine(secret: str, headers: dict[str, str], body: bytes) -> bool:
        asked = json.dumps({"secret": secret, "headers": headers, "body": body.hex()})
        command = ["node", str(folder / "ask.mjs")]
        answer = subprocess.run(command, input=asked, capture_output=True, text=True, check=True)
        return answer.stdout == "true\n"

    return genuine


@pytest.mark.parametrize("language", ["python", pytest.param("node", marks=WITH_NODE)])
def test_its_code_takes_what_is_signed_and_nothing_else(language: str, tmp_path: Path) -> None:
    genuine = _genuine_in_python() if language == "python" else _genuine_in_node(tmp_path)

    def call(at: datetime, body: str) -> dict[str, str]:
        return {
            "webhook-id": "msg_1",
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": "v1a,other " + Webhook(SECRET).sign("msg_1", at, body),
        }

    now, old = datetime.now(UTC), datetime.fromtimestamp(time.time() - 400, UTC)
    good = call(now, '{"ü": 1}')
    body = '{"ü": 1}'.encode()

    assert [True, False, False, False, False] == [
        genuine(SECRET, good, body),
        genuine(SECRET, good, body + b" "),
        genuine(SECRET, {**good, "webhook-id": "msg_2"}, body),
        genuine("whsec_" + "A" * 32, good, body),
        genuine(SECRET, call(old, '{"ü": 1}'), body),
    ]


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
