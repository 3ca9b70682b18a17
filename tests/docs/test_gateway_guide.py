"""The commands of the guide to the gateway, run in a shell against a gateway on a real store."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fornada.coordination.memory import InMemoryCoordination
from fornada.formats.rows import Rows
from fornada.jobs.items import Predicted
from fornada.jobs.store import JobStore
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from fornada.tensors import ImagePreprocessing, InputTensor, OutputTensor
from gateway.api.limits import LIMITS, MOST_BYTES, MOST_FORMS
from gateway.app import create_app
from gateway.auth.api_keys import ApiKeys
from gateway.auth.identity import Identity
from gateway.auth.rates import Rates
from gateway.auth.scopes import Scope
from gateway.deployment import Deployment
from gateway.http.streams import MOST_STREAMS
from model_store.manifest import ModelDraft
from model_store.store import ModelStore
from producer.client import Client
from producer.testing import InlineWorker, in_memory_client

from ..integration.gateway.serving import served

PAGE = Path(__file__).parents[2] / "docs/gateway.md"
TEXT = PAGE.read_text()
CLASSES = ["boot", "shirt"]

pytestmark = pytest.mark.skipif(
    not (shutil.which("curl") and shutil.which("jq")), reason="the guide uses curl and jq"
)


@pytest.fixture
def environ(settings: Settings, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Where the gateway is, and a key of it."""
    objects, coordination = S3ObjectStore.from_settings(settings), InMemoryCoordination()
    _publish(ModelStore(objects=objects))
    worker = InlineWorker(
        jobs=JobStore(objects=objects, decisions=coordination),
        coordination=coordination,
        predict=lambda rows: Predicted(Rows(_looks(rows.only)), {}),
    )
    client = Client(objects=objects, coordination=coordination, sender=worker, settings=settings)
    identity = Identity(api_keys=ApiKeys(objects=objects), rates=Rates.in_memory())
    app = create_app(Deployment.of(settings, objects=objects, client=client, identity=identity))
    _, token = identity.api_keys.create("shop", scopes=[s for s in Scope if s is not Scope.ADMIN])
    for name, level in (("boot", 0), ("shirt", 255)):
        Image.fromarray(np.full((28, 28), level, np.uint8)).save(tmp_path / f"{name}.png")
    with served(app) as url:
        yield {"FORNADA_URL": url, "FORNADA_API_KEY": token, "PATH": "/usr/bin:/bin"}


def _looks(images: np.ndarray) -> np.ndarray:
    return np.eye(2, dtype=np.float32)[(images.mean(axis=(1, 2)) > 128).astype(int)]


def _publish(models: ModelStore) -> None:
    taken = InputTensor(
        name="image", dtype="uint8", shape=[28, 28], image=ImagePreprocessing(color="grayscale")
    )
    given = OutputTensor(name="looks", shape=[2], kind="probabilities", classes=CLASSES)
    golden = np.zeros((1, 28, 28), np.uint8)
    models.publish(
        ModelDraft(name="fashion-mnist", inputs=[taken], outputs=[given]),
        artifact=b"a model",
        golden_inputs=golden,
        golden_outputs=_looks(golden),
        check=lambda _: None,
    )
    models.promote("fashion-mnist", 1, "prod")


def test_the_commands_of_the_guide_do_what_it_says(environ: dict[str, str], tmp_path: Path) -> None:
    script = "\n".join(re.findall(r"^```bash\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL))

    done = subprocess.run(
        ["/bin/bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert 0 == done.returncode, done.stderr + done.stdout
    state = json.loads(done.stdout[: done.stdout.index("}\n}") + 3])
    assert {"state": "SUCCEEDED"} == {"state": state["state"]}
    rows = dict(re.findall(r"^(boot|shirt)\.png,(\w+),", done.stdout, re.MULTILINE))
    assert {"boot": "boot", "shirt": "shirt"} == rows
    assert ["a", "b", "c"] == [
        json.loads(line)["item_id"]
        for line in (tmp_path / "results.jsonl").read_text().splitlines()
    ]


def test_a_celery_task_becomes_a_job_as_the_page_says(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (PAGE.parent / "from-celery.md").read_text()
    (code,) = re.findall(r"^```python\n(from producer .*?)^```$", page, re.MULTILINE | re.DOTALL)
    client = in_memory_client(
        model="churn", item_shape=[3], item_dtype="float32", classes=["stays", "leaves"]
    )
    monkeypatch.setattr(Client, "from_env", lambda: client)
    names = {"rows": np.zeros((4, 3), np.float32)}

    exec(code, names)

    assert ["label", "score"] == [*names["results"].columns[:2]]
    assert 4 == len(names["results"])


def test_the_limits_of_the_guide_are_those_of_the_code() -> None:
    said = " ".join(TEXT.partition("## Limits")[2].partition("## Run it")[0].split())
    sizes = {limit.most_bytes for limit in LIMITS} | {MOST_BYTES}

    assert {64 * 1024, 2 * 1024**2, 16 * 1024**2, 16 * 1024**3} == sizes
    for words in (
        "64 KiB",
        "2 MiB",
        "16 MiB",
        "16 GiB",
        f"{MOST_FORMS} forms",
        f"{MOST_STREAMS} |",
    ):
        assert words in said
