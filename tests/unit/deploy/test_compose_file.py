"""The rules that docker-compose.yml and deploy/Dockerfile keep; no container is started."""

import re
from pathlib import Path
from typing import Any

import yaml

from fornada.settings import PREFIX, Settings

_ROOT = Path(__file__).parents[3]
_TEXT = (_ROOT / "docker-compose.yml").read_text()
_SERVICES: dict[str, dict[str, Any]] = yaml.safe_load(_TEXT)["services"]
_OURS = {name: service for name, service in _SERVICES.items() if "build" in service}
_DOCKERFILE = (_ROOT / "deploy" / "Dockerfile").read_text()


def _with_defaults(value: object) -> str:
    """`value` as Compose reads it where no variable is set."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))


def _stage(target: str) -> str:
    """The instructions of the Dockerfile from `FROM … AS target` to the next `FROM`."""
    stages: list[tuple[str, str]] = re.findall(
        r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", _DOCKERFILE, re.MULTILINE | re.DOTALL
    )
    return dict(stages)[target]


def test_services_listen_on_this_machine_alone_and_gain_no_privileges() -> None:
    for name, service in _SERVICES.items():
        ports = service.get("ports", [])
        assert [] == [port for port in ports if not port.startswith("127.0.0.1:")], name
        assert ["no-new-privileges:true"] == service["security_opt"], name


def test_our_services_have_no_capability_and_write_to_volumes_and_tmp_alone() -> None:
    for name, service in _OURS.items():
        found = service["read_only"], service["tmpfs"], service["cap_drop"]
        assert (True, ["/tmp"], ["ALL"]) == found, name


def test_image_tags_name_one_release() -> None:
    for service in _SERVICES.values():
        tag = _with_defaults(service["image"]).rpartition(":")[2]
        assert re.fullmatch(r"dev|[\d.]+-\w+|RELEASE\.\d{4}-\d\d-\d\dT[\d-]+Z", tag)


def test_our_services_have_valid_settings_for_the_servers_of_the_file() -> None:
    for service in _OURS.values():
        # Given
        environ = {name: _with_defaults(value) for name, value in service["environment"].items()}
        assert [] == [name for name in environ if not name.startswith(PREFIX)]

        # When: an unknown setting, or a wrong value, is an error
        settings = Settings.from_env(environ)

        # Then
        assert "redis://redis:6379/0" == settings.redis_url.get_secret_value()
        assert "http://s3:9000" == settings.s3_endpoint_url


def test_the_store_has_the_credentials_of_its_clients() -> None:
    store, client = _SERVICES["s3"]["environment"], _SERVICES["worker"]["environment"]

    assert store["MINIO_ROOT_USER"] == client["FORNADA_S3_ACCESS_KEY_ID"]
    assert store["MINIO_ROOT_PASSWORD"] == client["FORNADA_S3_SECRET_ACCESS_KEY"]


def test_a_worker_has_time_to_finish_its_shards_when_it_is_stopped() -> None:
    worker = _SERVICES["worker"]
    grace_s = float(worker["stop_grace_period"].removesuffix("s"))

    assert grace_s > float(_with_defaults(worker["environment"]["FORNADA_SHARD_DEADLINE_S"]))


def test_workers_scale() -> None:
    # A fixed name or port would keep the second one from starting.
    assert not {"container_name", "ports"} & set(_SERVICES["worker"])


def test_our_images_are_built_from_stages_that_exist_and_run_as_a_numeric_user() -> None:
    for service in _OURS.values():
        assert _stage(_with_defaults(service["build"]["target"]))
    # Kubernetes checks `runAsNonRoot` by the number.
    assert ["10001:10001"] == re.findall(r"^USER (.*)$", _DOCKERFILE, re.MULTILINE)


def test_the_producer_and_the_openvino_worker_are_built_without_tensorflow() -> None:
    extras = {
        target: {
            extra
            for source in re.findall(r"--from=(\S+)", _stage(target))
            for extra in re.findall(r"--extra (\S+)", _stage(source))
        }
        for target in ("producer", "worker-openvino")
    }

    assert {"producer": {"images"}, "worker-openvino": {"openvino", "signing"}} == extras


def test_the_classic_builder_can_build_the_dockerfile() -> None:
    assert [] == re.findall(r"--mount|--chmod|--link|<<|^# syntax", _DOCKERFILE, re.MULTILINE)


def test_every_install_is_held_to_the_lock() -> None:
    installs = re.findall(r"pip install(.*?)(?=&&|^[A-Z#])", _DOCKERFILE, re.MULTILINE | re.DOTALL)
    held = ("--require-hashes", "--constraints requirements.lock", "--build-constraints requirem")

    assert installs
    assert [] == [line for line in installs if not any(flag in line for flag in held)]


def test_variables_of_the_compose_file_are_explained() -> None:
    example = (_ROOT / "deploy" / ".env.example").read_text()

    assert set(re.findall(r"\$\{(\w+)", _TEXT)) == set(
        re.findall(r"^#(\w+)=", example, re.MULTILINE)
    )
