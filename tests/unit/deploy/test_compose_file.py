"""What docker-compose.yml and deploy/Dockerfile promise, read from the files alone."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fornada.settings import PREFIX, Settings

_ROOT = Path(__file__).parents[3]
_COMPOSE: dict[str, Any] = yaml.safe_load((_ROOT / "docker-compose.yml").read_text())
_SERVICES: dict[str, dict[str, Any]] = _COMPOSE["services"]
_OURS = sorted(name for name, service in _SERVICES.items() if "build" in service)
_DOCKERFILE = (_ROOT / "deploy" / "Dockerfile").read_text()

every_service = pytest.mark.parametrize("service", sorted(_SERVICES))
our_service = pytest.mark.parametrize("service", _OURS)


def _with_defaults(value: object) -> str:
    """`value` as Compose reads it where no variable is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))


def _stage(target: str) -> str:
    """The instructions of the Dockerfile from `FROM … AS target` to the next `FROM`."""
    stages: list[tuple[str, str]] = re.findall(
        r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", _DOCKERFILE, re.MULTILINE | re.DOTALL
    )
    return dict(stages)[target]


def test_all_services_are_there() -> None:
    assert {"bucket", "producer", "redis", "s3", "trainer", "worker"} == set(_SERVICES)


@every_service
def test_ports_are_open_to_this_machine_alone(service: str) -> None:
    ports = _SERVICES[service].get("ports", [])

    assert [] == [port for port in ports if not port.startswith("127.0.0.1:")]


@every_service
def test_images_have_a_tag_that_stands_for_one_release(service: str) -> None:
    # when
    tag = _with_defaults(_SERVICES[service]["image"]).rpartition(":")[2]

    # then
    assert re.fullmatch(r"dev|[\d.]+-\w+|RELEASE\.\d{4}-\d\d-\d\dT[\d-]+Z", tag)


@every_service
def test_nothing_can_gain_privileges(service: str) -> None:
    assert ["no-new-privileges:true"] == _SERVICES[service]["security_opt"]


@our_service
def test_our_services_write_to_volumes_and_tmp_alone_and_hold_no_capability(service: str) -> None:
    # when
    options = _SERVICES[service]

    # then
    assert True is options["read_only"]
    assert ["/tmp"] == options["tmpfs"]
    assert ["ALL"] == options["cap_drop"]


@our_service
def test_our_services_get_settings_that_exist_and_hold(service: str) -> None:
    # given
    environ = {
        name: _with_defaults(value) for name, value in _SERVICES[service]["environment"].items()
    }
    assert [] == [name for name in environ if not name.startswith(PREFIX)]

    # when: an unknown setting, or a wrong value, is an error
    settings = Settings.from_env(environ)

    # then: they point at the servers of this file
    assert "redis://redis:6379/0" == settings.redis_url.get_secret_value()
    assert "http://s3:9000" == settings.s3_endpoint_url


def test_the_store_is_given_the_credentials_that_its_clients_sign_with() -> None:
    store, client = _SERVICES["s3"]["environment"], _SERVICES["worker"]["environment"]

    assert store["MINIO_ROOT_USER"] == client["FORNADA_S3_ACCESS_KEY_ID"]
    assert store["MINIO_ROOT_PASSWORD"] == client["FORNADA_S3_SECRET_ACCESS_KEY"]


@our_service
def test_our_services_are_built_from_stages_that_exist(service: str) -> None:
    # given
    build = _SERVICES[service]["build"]
    assert "deploy/Dockerfile" == build["dockerfile"]

    # then
    assert _stage(_with_defaults(build["target"]))


def test_a_worker_that_stops_may_finish_its_shards() -> None:
    # given
    worker = _SERVICES["worker"]
    grace = re.fullmatch(r"(\d+)s", worker["stop_grace_period"])
    assert grace is not None

    # then
    deadline_s = float(_with_defaults(worker["environment"]["FORNADA_SHARD_DEADLINE_S"]))
    assert float(grace[1]) > deadline_s


def test_workers_can_be_many_and_start_after_the_trainer() -> None:
    # given
    worker = _SERVICES["worker"]

    # then: a fixed name or port would keep the second one from starting
    assert not {"container_name", "ports"} & set(worker)
    assert {"condition": "service_completed_successfully"} == worker["depends_on"]["trainer"]


def test_redis_keeps_its_queue() -> None:
    # when
    command = " ".join(_SERVICES["redis"]["command"])

    # then
    assert "--appendonly yes" in command
    assert "--maxmemory-policy noeviction" in command


def test_compose_1_29_can_read_the_file() -> None:
    # It refuses a top-level `name`.
    known = {"services", "volumes", "networks"}
    assert {key for key in _COMPOSE if not key.startswith("x-")} <= known


def test_the_images_run_as_a_numeric_user_that_is_not_root() -> None:
    # given
    users = re.findall(r"^USER (.*)$", _DOCKERFILE, re.MULTILINE)

    # then: Kubernetes checks `runAsNonRoot` by the number
    assert ["10001:10001"] == users
    assert "USER 10001:10001" in _stage("runtime")
    for target in ("producer", "worker", "trainer", "worker-openvino"):
        assert f"FROM runtime AS {target}\n" in _DOCKERFILE


def test_the_producer_is_built_without_any_framework() -> None:
    # given: the stages that the producer's files come from
    sources = re.findall(r"--from=(\S+)", _stage("producer"))

    # then
    assert ["build", "build-own"] == sources
    assert ["images"] == [
        extra for source in sources for extra in re.findall(r"--extra (\S+)", _stage(source))
    ]


def test_the_openvino_worker_is_built_without_tensorflow_and_told_its_engine() -> None:
    # given
    stage = _stage("worker-openvino")
    sources = re.findall(r"--from=(\S+)", stage)

    # then
    assert ["build-worker-openvino", "build-own"] == sources
    assert ["openvino", "signing"] == re.findall(r"--extra (\S+)", _stage("build-worker-openvino"))
    assert "FROM build AS build-worker-openvino\n" in _DOCKERFILE
    assert "ENV FORNADA_ENGINE=openvino\n" in stage


def test_the_dockerfile_needs_no_buildkit() -> None:
    assert [] == re.findall(r"--mount|--chmod|--link|<<|^# syntax", _DOCKERFILE, re.MULTILINE)


def test_every_install_is_held_to_the_lock() -> None:
    # given
    installs = re.findall(r"pip install(.*?)(?=&&|^[A-Z#])", _DOCKERFILE, re.MULTILINE | re.DOTALL)
    held = ("--require-hashes", "--constraints requirements.lock", "--build-constraints requirem")

    # then
    assert 6 == len(installs)
    assert [] == [line for line in installs if not any(flag in line for flag in held)]


def test_variables_of_the_compose_file_are_explained() -> None:
    # given
    used = set(re.findall(r"\$\{(\w+)", (_ROOT / "docker-compose.yml").read_text()))
    example = (_ROOT / "deploy" / ".env.example").read_text()

    # then
    assert used == set(re.findall(r"^#(\w+)=", example, re.MULTILINE))
