"""The manifests of deploy/k8s: valid, in agreement with the code, and with few rights."""

import re
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import yaml

from fornada.settings import PREFIX, Settings
from fornada.trust.deployment_keys import DeploymentKeys
from gateway.commands.serving import DEFAULT_PORT
from worker.host.health import STALE_AFTER_S, START_LIMIT_S

from .commands import check_command
from .manifests import (
    OPERATORS,
    Manifest,
    Rendered,
    container_of,
    environ_of,
    of_kind,
    ours,
    pods,
    render,
)

_ROOT = Path(__file__).parents[3]
_KUBERNETES = "1.33"
_SECRETS = "/run/secrets/fornada/"
_PREPARE = (_ROOT / "deploy/prepare.sh").read_text()
#: The keys of the secret `fornada`.
_SECRET_KEYS = set(re.findall(r"^keep (\w+)", _PREPARE, re.MULTILINE))


def test_manifests_follow_the_schemas_of_kubernetes(rendered: Rendered) -> None:
    overlays = {f"overlays/{name}" for name in ("gpu", "keda", "monitoring")}
    assert {"base", *overlays, "pools/jax", "pools/openvino", "trial"} == set(rendered)
    valid: list[Manifest] = []
    for folder, manifests in rendered.items():
        for each in manifests:
            if not each["apiVersion"].startswith(OPERATORS) and each not in valid:
                kubernetes_validate.validate(each, _KUBERNETES, strict=True)
                valid.append(each)
        names = [(each["kind"], each["metadata"]["name"]) for each in manifests]
        assert len(names) == len(set(names)), folder


def test_the_page_shows_a_kustomization_that_renders(rendered: Rendered, tmp_path: Path) -> None:
    # Given
    page = (_ROOT / "docs/operations/kubernetes.md").read_text()
    example = next(
        text for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "merge" in text
    )
    shutil.copytree(_ROOT / "deploy/k8s", tmp_path / "fornada/deploy/k8s")
    (tmp_path / "kustomization.yaml").write_text(example)

    # When
    manifests = render(tmp_path)

    # Then
    (settings,) = of_kind(manifests, "ConfigMap")
    assert "inference" == settings["data"]["FORNADA_S3_BUCKET"]
    assert "fornada-gateway" in settings["data"]["FORNADA_GATEWAY_HOSTS"]
    images = {container_of(pod)["image"].rpartition(":")[0] for _, pod in pods(manifests)}
    assert all(image.startswith("registry.example.com/fornada-") for image in images)
    assert {each["metadata"]["name"] for each in rendered["overlays/keda"]} - {
        each["metadata"]["name"] for each in manifests
    } == {each["metadata"]["name"] for each in of_kind(rendered["base"], "ConfigMap")}


def test_what_manifests_name_is_there(rendered: Rendered) -> None:
    for folder, manifests in rendered.items():
        if folder.startswith("pools"):
            continue
        named = {(each["kind"], each["metadata"]["name"]) for each in manifests}
        labels = [pod["metadata"]["labels"] for _, pod in pods(manifests)]
        for _, pod in pods(manifests):
            account = pod["spec"].get("serviceAccountName")
            assert account is None or ("ServiceAccount", account) in named
            for source in container_of(pod).get("envFrom", []):
                assert ("ConfigMap", source["configMapRef"]["name"]) in named
        for each in of_kind(manifests, "Service"):
            assert any(each["spec"]["selector"].items() <= label.items() for label in labels)
        for each in of_kind(manifests, "PodDisruptionBudget", "Deployment", "StatefulSet"):
            selector = each["spec"]["selector"]["matchLabels"]
            # A pool's selector must not take in another's pods.
            assert 1 == sum(selector.items() <= label.items() for label in labels), folder
        for each in of_kind(manifests, "ScaledObject"):
            assert ("Deployment", each["spec"]["scaleTargetRef"]["name"]) in named


def test_ports_have_one_number_from_the_service_to_the_process(rendered: Rendered) -> None:
    for manifests in rendered.values():
        containers = [container_of(pod) for _, pod in pods(manifests)]
        numbers = {
            each["name"]: each["containerPort"]
            for container in containers
            for each in container.get("ports", [])
        }
        for each in of_kind(manifests, "Service"):
            for port in each["spec"]["ports"]:
                assert port["port"] == numbers[port["targetPort"]]
                assert DEFAULT_PORT == port["port"] or each["metadata"]["name"] in {"redis", "s3"}


def test_containers_run_commands_that_exist(rendered: Rendered) -> None:
    for _, name, pod in ours(rendered):
        container = container_of(pod)
        check_command(container["args"])
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if "exec" in container.get(probe, {}):
                program, *arguments = container[probe]["exec"]["command"]
                assert "fornada" == program, name
                check_command(arguments)


def test_containers_have_valid_settings_and_their_secrets_in_files(
    rendered: Rendered, tmp_path: Path
) -> None:
    # Given
    values = dict.fromkeys(_SECRET_KEYS, "fornada" * 5)
    values |= {"redis_url": "redis://:p@redis:6379/0", "deployment_keys": "0" * 64}
    for key, value in values.items():
        (tmp_path / key).write_text(value)
    for manifests, name, pod in ours(rendered):
        environ = environ_of(manifests, pod)
        assert all(variable.startswith(PREFIX) for variable in environ)
        read = {value for value in environ.values() if value.startswith(_SECRETS)}

        # When: an unknown setting, or a wrong value, is an error
        settings = Settings.from_env(
            {key: value.replace(_SECRETS, f"{tmp_path}/") for key, value in environ.items()}
        )

        # Then
        assert DeploymentKeys.from_settings(settings)
        assert read == {_SECRETS + key for key in _mounted_keys(pod)}, name
        if container_of(pod)["args"][0] == "worker":
            assert pod["spec"]["terminationGracePeriodSeconds"] > settings.shard_deadline_s
        # Kubernetes would add variables of its own, which are no settings.
        assert pod["spec"]["enableServiceLinks"] is False


def test_pods_have_no_rights_and_limits_of_memory_and_disk(rendered: Rendered) -> None:
    for manifests in rendered.values():
        for name, pod in pods(manifests):
            container, spec = container_of(pod), pod["spec"]
            assert {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            } == container["securityContext"], name
            rights = spec["securityContext"]
            assert (True, "RuntimeDefault") == (
                rights["runAsNonRoot"],
                rights["seccompProfile"]["type"],
            ), name
            assert container["image"].startswith("fornada-") == (
                rights["runAsUser"] == 10001 and name not in {"redis", "s3"}
            )
            assert spec["automountServiceAccountToken"] is False
            resources = container["resources"]
            assert {"cpu", "memory"} <= set(resources["requests"]), name
            assert "memory" in resources["limits"], name
            volumes = spec.get("volumes", [])
            assert all("sizeLimit" in each["emptyDir"] for each in volumes if "emptyDir" in each)
            assert _mounted_keys(pod) <= _SECRET_KEYS, name


def test_probes_ask_what_the_roles_offer(rendered: Rendered, gateway_api: dict[str, Any]) -> None:
    asked = set()
    for _, name, pod in ours(rendered):
        container = container_of(pod)
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if "httpGet" in container.get(probe, {}):
                asked.add(container[probe]["httpGet"]["path"])
        if container["args"] == ["worker"]:
            # The supervisor acts first, and knows why.
            assert _patience_s(container["startupProbe"]) >= START_LIMIT_S, name
            assert _patience_s(container["livenessProbe"]) > 2 * STALE_AFTER_S, name
    assert {"/healthz", "/readyz"} == asked <= set(gateway_api["paths"])


def test_images_are_those_of_the_compose_file(rendered: Rendered) -> None:
    compose = (_ROOT / "docker-compose.yml").read_text()
    services = yaml.safe_load(re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", compose.replace("$$", "")))
    known = {each["image"] for each in services["services"].values()}
    stages = re.findall(
        r"^FROM \S+ AS (\S+)", (_ROOT / "deploy/Dockerfile").read_text(), re.MULTILINE
    )
    known |= {f"fornada-{stage}:dev" for stage in stages}
    # `worker-jax` with JAX for GPUs.
    known.add("fornada-worker-gpu:dev")

    for manifests in rendered.values():
        assert {container_of(pod)["image"] for _, pod in pods(manifests)} <= known


def test_the_servers_of_the_trial_have_the_names_and_credentials_of_its_settings(
    rendered: Rendered,
) -> None:
    # Given
    manifests = rendered["trial"]
    (settings,) = of_kind(manifests, "ConfigMap")
    services = {
        each["metadata"]["name"]: each["spec"]["ports"][0]["port"]
        for each in of_kind(manifests, "Service")
    }
    store = urlsplit(settings["data"]["FORNADA_S3_ENDPOINT_URL"])
    (redis,) = re.findall(r"^keep redis_url .*@(\w+):(\d+)", _PREPARE, re.MULTILINE)

    # Then
    assert services[store.hostname or ""] == store.port
    assert services[redis[0]] == int(redis[1])
    (server,) = (pod for name, pod in pods(manifests) if name == store.hostname)
    environ = {each["name"]: each["value"] for each in container_of(server)["env"]}
    assert (
        settings["data"]["FORNADA_S3_ACCESS_KEY_ID"],
        settings["data"]["FORNADA_S3_SECRET_ACCESS_KEY_FILE"],
    ) == (environ["MINIO_ROOT_USER"], environ["MINIO_ROOT_PASSWORD_FILE"])


def test_the_network_policy_lets_the_settings_servers_through(rendered: Rendered) -> None:
    for manifests, name, pod in ours(rendered):
        (rule,) = (
            each
            for each in of_kind(manifests, "NetworkPolicy")
            if "Egress" in each["spec"]["policyTypes"]
        )
        selector = rule["spec"]["podSelector"]["matchLabels"]
        assert selector.items() <= pod["metadata"]["labels"].items(), name
        open_ports = {each["port"] for each in rule["spec"]["egress"][0]["ports"]}
        store = urlsplit(environ_of(manifests, pod)["FORNADA_S3_ENDPOINT_URL"]).port
        redis = urlsplit(Settings().redis_url.get_secret_value()).port
        assert {53, 443, store, redis} <= open_ports


def _mounted_keys(pod: Manifest) -> set[str]:
    items = [
        item
        for volume in pod["spec"].get("volumes", [])
        for item in volume.get("secret", {}).get("items", [])
    ]
    assert all(item["key"] == item["path"] for item in items)
    return {item["key"] for item in items}


def _patience_s(probe: dict[str, Any]) -> float:
    return float(probe["periodSeconds"] * probe["failureThreshold"])
