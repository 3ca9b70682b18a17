"""The manifests of deploy/k8s fit each other and the settings; workers have few rights."""

import re
from pathlib import Path
from typing import Any

import yaml

from fornada.settings import Settings

_FOLDER = Path(__file__).parents[3] / "deploy" / "k8s"
_CONFIG, _DEPLOYMENT = yaml.safe_load_all((_FOLDER / "worker.yaml").read_text())
_POD: dict[str, Any] = _DEPLOYMENT["spec"]["template"]["spec"]
_CONTAINER: dict[str, Any] = _POD["containers"][0]
_SCALED, _AUTHENTICATION = yaml.safe_load_all((_FOLDER / "worker-keda.yaml").read_text())
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


def test_the_trigger_is_given_the_password_of_the_secret() -> None:
    (password,) = _AUTHENTICATION["spec"]["secretTargetRef"]

    assert _AUTHENTICATION["metadata"]["name"] == _TRIGGER["authenticationRef"]["name"]
    assert ("fornada", "redis_password") == (password["name"], password["key"])
    assert f"--from-literal={password['key']}=" in (_FOLDER / "worker.yaml").read_text()
    assert _SPEC["scaleTargetRef"]["name"] == _DEPLOYMENT["metadata"]["name"]


def test_workers_have_valid_settings_and_their_secrets_in_files(tmp_path: Path) -> None:
    # Given
    secret, mount = {"redis_url": "redis://:p@r", "s3_secret_access_key": "s"}, "/run/secrets/"
    secret["deployment_keys"] = "0" * 64
    for name, value in secret.items():
        (tmp_path / name).write_text(value)
    environ = {each["name"]: each["value"] for each in _CONTAINER["env"]}
    assert {f"{mount}fornada/{name}" for name in secret} == set(environ.values())

    # When
    given = {name: str(tmp_path / Path(value).name) for name, value in environ.items()}
    settings = Settings.from_env(_CONFIG["data"] | given)

    # Then
    assert _POD["terminationGracePeriodSeconds"] > settings.shard_deadline_s
    # Kubernetes would add variables of its own, which are no settings.
    assert _POD["enableServiceLinks"] is False
    names = re.findall(r"--from-literal=(\w+)=", (_FOLDER / "worker.yaml").read_text())
    assert {*secret, "redis_password"} == set(names)


def test_workers_have_no_rights_and_a_limit_of_memory() -> None:
    assert {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    } == _CONTAINER["securityContext"]
    assert (True, False) == (
        _POD["securityContext"]["runAsNonRoot"],
        _POD["automountServiceAccountToken"],
    )
    assert _CONTAINER["resources"]["limits"]["memory"]
    assert all("sizeLimit" in each["emptyDir"] for each in _POD["volumes"] if "emptyDir" in each)
