"""The rules that docker-compose.yml and deploy/Dockerfile keep; no container is started."""

import itertools
import re
import shutil
import stat
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from fornada.calls.frames import MAX_ANSWER_BYTES
from fornada.local.valkey import MAX_VALUE_BYTES
from fornada.settings import PREFIX, Settings
from fornada.trust.deployment_keys import DeploymentKeys

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


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout after `deploy/prepare.sh`."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(_ROOT / "deploy", folder / "deploy", ignore=shutil.ignore_patterns("secrets"))
    subprocess.run(["sh", folder / "deploy" / "prepare.sh"], check=True)
    return folder


def test_services_listen_on_this_machine_alone_and_gain_no_privileges() -> None:
    for name, service in _SERVICES.items():
        ports = service.get("ports", [])
        assert [] == [port for port in ports if not port.startswith("127.0.0.1:")], name
        assert ["no-new-privileges:true"] == service["security_opt"], name
        assert (True, ["ALL"]) == (service["read_only"], service["cap_drop"]), name
        assert "user" in service or name in _OURS, name
    # One changes the owner of the store's folder, without a network, and ends.
    assert ["s3-folder"] == [name for name, each in _SERVICES.items() if "cap_add" in each]
    assert ["s3-folder"] == [name for name, each in _SERVICES.items() if each.get("user") == "0:0"]


def test_memory_is_limited_and_what_is_in_tmp_is_part_of_it() -> None:
    for name, service in _SERVICES.items():
        (tmp,) = service["tmpfs"]
        size = re.fullmatch(r"/tmp:size=(\d+[mg])", _with_defaults(tmp))
        assert size is not None, name
        assert _bytes(size[1]) < _bytes(_with_defaults(service["mem_limit"])), name


def test_redis_takes_no_value_larger_than_the_embedded_one() -> None:
    options = dict(itertools.pairwise(_SERVICES["redis"]["command"]))

    assert MAX_VALUE_BYTES == _bytes(options["--proto-max-bulk-len"]) >= 2 * MAX_ANSWER_BYTES
    assert _bytes(options["--maxmemory"]) * 2 <= _bytes(_SERVICES["redis"]["mem_limit"])


def test_no_secret_stands_in_a_variable_or_on_a_command_line(prepared: Path) -> None:
    # Given
    asked = {path.name for path in (prepared / "deploy" / "secrets").iterdir()}
    given = yaml.safe_load(_TEXT)["secrets"]
    named = [name for service in _SERVICES.values() for name in service.get("environment", {})]

    # Then
    assert set(given) == asked - {"redis_password"}
    secret = re.compile(r".*(PASSWORD|SECRET|KEYS|REDIS_URL).*(?<!_FILE)")
    assert [] == [name for name in named if secret.fullmatch(name)]
    assert "requirepass" not in _TEXT
    for name, service in _SERVICES.items():
        read = set(re.findall(r"/run/secrets/(\w+)", str(service)))
        assert read == set(service.get("secrets", [])), name


def test_secrets_are_made_once_for_the_containers_alone(prepared: Path) -> None:
    # Given
    folder = prepared / "deploy" / "secrets"
    before = {path.name: path.read_text() for path in folder.iterdir()}

    # When
    subprocess.run(["sh", prepared / "deploy" / "prepare.sh"], check=True)

    # Then
    assert before == {path.name: path.read_text() for path in folder.iterdir()}
    assert 0o700 == stat.S_IMODE(folder.stat().st_mode)
    # The users of containers, whatever their number, read what is mounted for them.
    assert {0o444} == {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert 0o600 == stat.S_IMODE((prepared / ".env").stat().st_mode)
    assert before["redis_password"].strip() in before["redis_url"]
    assert f"requirepass {before['redis_password']}" == before["redis_conf"]


def test_image_tags_name_one_release() -> None:
    for service in _SERVICES.values():
        tag = _with_defaults(service["image"]).rpartition(":")[2]
        assert re.fullmatch(r"dev|v?\d+\.\d+\.\d+(-\w+)?|RELEASE\.\d{4}-\d\d-\d\dT[\d-]+Z", tag)


def test_our_services_have_valid_settings_for_the_servers_of_the_file(prepared: Path) -> None:
    for name in set(_OURS) - {"s3-folder"}:
        # Given
        environ = {
            variable: _with_defaults(value).replace("/run", f"{prepared}/deploy")
            for variable, value in _OURS[name]["environment"].items()
        }
        assert [] == [variable for variable in environ if not variable.startswith(PREFIX)]

        # When: an unknown setting, or a wrong value, is an error
        settings = Settings.from_env(environ)

        # Then
        assert "@redis:6379/0" in settings.redis_url.get_secret_value()
        assert "http://s3:9000" == settings.s3_endpoint_url
        assert DeploymentKeys.from_settings(settings)


def test_every_setting_of_the_environment_file_reaches_our_containers() -> None:
    for name in set(_OURS) - {"s3-folder"}:
        # Given: a variable of the service goes before the file
        fixed = [
            variable
            for variable, value in _OURS[name]["environment"].items()
            if not variable.endswith("_FILE") and f"${{{variable}:-" not in str(value)
        ]

        # Then
        assert ([".env"], []) == (_OURS[name]["env_file"], fixed), name


def test_prometheus_and_grafana_find_their_files_and_each_other() -> None:
    # Given
    mounts = {
        inside: _ROOT / outside
        for name in ("prometheus", "grafana")
        for outside, inside, *_ in (each.split(":") for each in _SERVICES[name]["volumes"])
        if outside.startswith("./")
    }
    provisioning = mounts["/etc/grafana/provisioning"]
    (source,) = _yaml(provisioning / "datasources/prometheus.yml")["datasources"]
    (provider,) = _yaml(provisioning / "dashboards/fornada.yml")["providers"]
    scraped = _yaml(mounts["/etc/prometheus"] / "prometheus.yml")["scrape_configs"]

    # Then
    home = Path(_SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (mounts[str(home.parent)] / home.name).exists()
    assert str(home.parent) == provider["options"]["path"]
    assert "http://prometheus:9090" == source["url"]
    for job in scraped:
        (found,) = job["dns_sd_configs"]
        (name,) = found["names"]
        assert f"fornada-{name}" == job["job_name"]
        port = _with_defaults(_SERVICES[name]["environment"]["FORNADA_METRICS_PORT"])
        assert str(found["port"]) == port
    # `up` starts neither.
    assert ["prometheus", "grafana"] == [
        name for name, each in _SERVICES.items() if each.get("profiles") == ["observe"]
    ]


def test_prometheus_takes_its_configuration() -> None:
    if shutil.which("promtool") is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    file = _ROOT / "deploy/prometheus/prometheus.yml"

    told = subprocess.run(["promtool", "check", "config", file], capture_output=True, text=True)

    assert 0 == told.returncode, told.stderr


def test_the_store_has_the_credentials_of_its_clients() -> None:
    store, client = _SERVICES["s3"]["environment"], _SERVICES["worker"]["environment"]

    assert store["MINIO_ROOT_USER"] == client["FORNADA_S3_ACCESS_KEY_ID"]
    assert store["MINIO_ROOT_PASSWORD_FILE"] == client["FORNADA_S3_SECRET_ACCESS_KEY_FILE"]


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


def _extras(target: str) -> set[str]:
    """What an image has beside the base dependencies."""
    sources = re.findall(r"--from=(\S+)", _stage(target))
    return {extra for source in sources for extra in re.findall(r"--extra (\S+)", _stage(source))}


def test_the_producer_and_workers_on_other_engines_are_built_without_tensorflow() -> None:
    assert {"images", "tables", "traces"} == _extras("producer")
    for engine in ("jax", "openvino"):
        assert {"metrics", engine, "signing", "tables", "traces"} == _extras(f"worker-{engine}")


def test_workers_and_gateways_can_serve_metrics() -> None:
    assert [] == [target for target in ("gateway", "worker") if "metrics" not in _extras(target)]


def test_the_classic_builder_can_build_the_dockerfile() -> None:
    assert [] == re.findall(r"--mount|--chmod|--link|<<|^# syntax", _DOCKERFILE, re.MULTILINE)


def test_the_standard_library_is_compiled_before_the_file_system_is_read_only() -> None:
    # The images of Python have no byte code of it.
    before, _, _ = _stage("runtime").partition("USER")

    assert "python -m compileall" in before


def test_every_package_goes_to_the_engine_that_builds_the_images() -> None:
    hatch = tomllib.loads((_ROOT / "pyproject.toml").read_text())["tool"]["hatch"]
    packages = hatch["build"]["targets"]["wheel"]["packages"]
    let_in = re.findall(r"^!(.+)$", (_ROOT / ".dockerignore").read_text(), re.MULTILINE)

    assert [] == [name for name in packages if name not in let_in]


def test_docker_compose_1_can_read_the_variables() -> None:
    # It knows no variable within the default of another, and no `:+`.
    assert [] == re.findall(r"\$\{[^}]*\$\{|:\+", _TEXT)


def test_every_install_is_held_to_the_lock() -> None:
    installs = re.findall(r"pip install(.*?)(?=&&|^[A-Z#])", _DOCKERFILE, re.MULTILINE | re.DOTALL)
    held = ("--require-hashes", "--constraints requirements.lock", "--build-constraints requirem")

    assert installs
    assert [] == [line for line in installs if not any(flag in line for flag in held)]


def test_variables_of_the_compose_file_are_explained_and_are_no_settings_by_mistake() -> None:
    example = (_ROOT / "deploy" / ".env.example").read_text()
    used = set(re.findall(r"\$\{(\w+)", _TEXT))

    assert used == set(re.findall(r"^#?(\w+)=", example, re.MULTILINE))
    # Whatever is in `.env` reaches the containers, where an unknown setting is an error.
    Settings.from_env(dict.fromkeys(used, ""))


def _bytes(size: str) -> int:
    return int(size.removesuffix("b")[:-1]) * {"m": 2**20, "g": 2**30}[size.removesuffix("b")[-1]]


def _yaml(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text())
    return found
