"""deploy/k8s/worker-keda.yaml fits the settings that it scales by."""

from pathlib import Path
from typing import Any

import yaml

from fornada.settings import Settings

_PATH = Path(__file__).parents[3] / "deploy" / "k8s" / "worker-keda.yaml"
_SCALED, _AUTHENTICATION = yaml.safe_load_all(_PATH.read_text())
_SPEC: dict[str, Any] = _SCALED["spec"]
_TRIGGER: dict[str, Any] = _SPEC["triggers"][0]


def test_it_watches_the_workers_queue() -> None:
    assert Settings().queue == _TRIGGER["metadata"]["listName"]


def test_the_enqueue_window_holds_enough_messages_to_call_for_all_replicas() -> None:
    # given
    most_messages = int(_TRIGGER["metadata"]["listLength"]) * _SPEC["maxReplicaCount"]

    # then
    assert most_messages <= Settings().enqueue_window


def test_one_worker_stays_for_the_reconciler() -> None:
    assert _SPEC["minReplicaCount"] >= 1


def test_the_trigger_is_given_the_password() -> None:
    assert _AUTHENTICATION["metadata"]["name"] == _TRIGGER["authenticationRef"]["name"]
