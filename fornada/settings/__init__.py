"""All settings, read from `FORNADA_*` once at start; an unknown variable is an error."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import ConfigDict, Field, SecretStr, ValidationError

from fornada.errors import ConfigError
from fornada.files.private_folder import default_cache_dir
from fornada.keys import DEFAULT_QUEUE, NAME_PATTERN
from fornada.records import MAX_INLINE_BYTES
from fornada.settings.doors import DoorSettings
from fornada.settings.patterns import FUNCTION, WORDS

PREFIX = "FORNADA_"
MAX_BATCH_SIZE = 65_536
_MAX_SECRET_CHARACTERS = 65_536
#: Most threads that a worker chooses itself.
MAX_CHOSEN_THREADS = 64
_REDIS_SCHEMES = ("redis://", "rediss://", "unix://", "sentinel://", "sentinels://")


class Settings(DoorSettings):
    """The configuration of a process."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis or Valkey, 7.2 or newer: the queue, and counters that may be lost. "
        "A deployment needs a database to itself.",
    )
    redis_credentials: str | None = Field(
        default=None,
        pattern=FUNCTION,
        description="`package.module:function`, which returns a `CredentialProvider` of redis-py: "
        "user and password of each new connection, such as a cloud's tokens. Runs as code.",
    )
    queue: str = Field(
        default=DEFAULT_QUEUE,
        pattern=NAME_PATTERN,
        description="The queue between producers and workers.",
    )
    s3_endpoint_url: str | None = Field(
        default=None,
        description="The S3-compatible store, e.g. http://127.0.0.1:9000. Unset: AWS.",
    )
    s3_bucket: str = Field(
        default="fornada", min_length=1, description="The bucket of models and jobs."
    )
    s3_region: str = Field(default="us-east-1", description="The region to sign requests for.")
    s3_access_key_id: str | None = Field(
        default=None,
        description="The access key. Unset: boto3 searches (environment, profile, instance role).",
    )
    s3_secret_access_key: SecretStr | None = Field(
        default=None, description="The secret of FORNADA_S3_ACCESS_KEY_ID."
    )
    deployment_keys: SecretStr | None = Field(
        default=None,
        description="Keys that producers and workers share, 64 hex digits each, separated by "
        "commas. The first signs what goes through Redis, each verifies. Make one with "
        "`openssl rand -hex 32`.",
    )
    input_prefixes: str | None = Field(
        default=None,
        description="Where jobs may read inputs that Fornada did not store, separated by commas: "
        "`s3://photos/2026/,s3://fornada/inputs/`. Unset: `inputs/` of the bucket.",
    )
    items_per_shard: int = Field(
        default=4096,
        ge=1,
        le=1_000_000,
        description="Items in a shard, which is one message and the unit of retry.",
    )
    max_shard_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=1024,
        description="Largest input of a shard, which must fit into memory.",
    )
    max_inline_bytes: int = Field(
        default=MAX_INLINE_BYTES,
        ge=0,
        le=MAX_INLINE_BYTES,
        description="Inputs of a job up to this total are kept in its manifest and travel in its "
        "message; results up to this size are kept in outcomes. 0: always objects.",
    )
    enqueue_window: int = Field(
        default=1000,
        ge=1,
        description="Most messages in the queue; the rest of a job follows as it drains.",
    )
    max_attempts: int = Field(
        default=5, ge=1, le=100, description="Attempts at a shard before it is dead."
    )
    shard_deadline_s: float = Field(
        default=600.0,
        gt=0,
        description="A worker process that takes longer for a shard is killed and replaced.",
    )
    max_batch_size: int | None = Field(
        default=None,
        ge=1,
        le=MAX_BATCH_SIZE,
        description="Rows of every predict call, padded. Another number may change the lowest bits "
        "of results. Unset: from the model's layers, once for each kind of machine; "
        "`fornada doctor` shows it.",
    )
    max_latency_s: float = Field(
        default=0.005,
        ge=0,
        le=10,
        description="How long a batch that is not full waits for rows that are on their way; "
        "it goes at once if none are.",
    )
    worker_threads: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Shards that a worker process handles at a time. Unset: two more than its "
        "cores, and more once shards have waited long for the store.",
    )
    engine: str = Field(
        default="keras",
        # The names are in the catalog of `model_store.engines`, which this package cannot see.
        pattern=NAME_PATTERN,
        description="What workers predict with; see [engines](#engines).",
    )
    price_per_cpu_hour: float | None = Field(
        default=None,
        ge=0,
        le=1e6,
        description="What an hour of CPU time of this worker costs, in a currency of your own; the "
        "cost of each job follows. Give each kind of worker its own. Unset: jobs have no cost.",
    )
    max_loaded_models: int = Field(
        default=4, ge=1, description="Most models that a worker process keeps in memory."
    )
    model_memory_bytes: int = Field(
        default=2 * 1024**3,
        ge=1,
        description="Most bytes of these models' artifacts; in memory they take a small multiple. "
        "The least recently used models are evicted first, those in use never.",
    )
    warm_models: str | None = Field(
        default=None,
        description="Models that a worker loads before it takes work, separated by commas: "
        "`digits@prod,fashion-mnist`.",
    )
    accepted_models: str | None = Field(
        default=None,
        description="Globs for the names of models that a worker loads, separated by commas. "
        "Unset: all.",
    )
    model_public_key: str | None = Field(
        default=None,
        description="PEM file of an Ed25519 public key; workers load only models that are signed "
        "with its private key.",
    )
    allowed_objects: str | None = Field(
        default=None,
        description="Layers, models and functions of others that a model may use, with commas "
        "between: `Custom>Thrice=shop.layers:Thrice` by registered name, or "
        "`package.module:ClassName`. They run as code.",
    )
    allowed_layers: str | None = Field(
        default=None,
        description="The old name of `FORNADA_ALLOWED_OBJECTS`; both are read.",
    )
    cache_dir: Path = Field(
        default_factory=lambda: default_cache_dir({}),
        description="The folder for workers' cached artifacts and signs of life. It belongs to the "
        "worker's user alone. Unset: `$XDG_CACHE_HOME/fornada`, else `/var/cache/fornada` for "
        "root, else `~/.cache/fornada`.",
    )
    lease_s: float = Field(
        default=30.0,
        ge=1,
        le=3600,
        description="A shard whose worker shows no life for this long goes to another worker. "
        "The same for all workers of a queue: each logs where its leader's differs.",
    )
    reconcile_interval_s: float = Field(
        default=1.0,
        gt=0,
        description="How often lost messages are searched for and enqueued again.",
    )
    requeue_after_s: float = Field(
        default=60.0,
        gt=0,
        description="A message counts as lost if the queue is empty and its shard has not started "
        "for this long.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="The lowest level that is logged."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto",
        description="Format of log lines. auto: console on a terminal, else JSON lines.",
    )
    metrics_port: int | None = Field(
        default=None,
        ge=0,
        le=65_535,
        description="`fornada worker` and `fornada gateway` serve metrics for Prometheus at this "
        "port, without a key; 0: at any free one, which the log names. Unset: none are counted.",
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="The address that metrics are served at; `0.0.0.0` for scrapers on other "
        "machines, in a network of yours.",
    )
    traces: bool = Field(
        default=False,
        description="Whether processes make [traces](../operations/traces.md); where these go is "
        "what OpenTelemetry's own variables say. Needs `fornada[traces]`.",
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """The settings in `environ`, usually `os.environ`.

        Raises:
            ConfigError: A variable is unknown or its value is invalid; names the variable.
        """
        given = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environ.items()
            if name.startswith(PREFIX)
        }
        given = _with_secrets_read(given, cls._secrets())
        for name in given:
            if name not in cls.model_fields:
                raise ConfigError(_unknown(name, list(cls.model_fields)))
        values = {"cache_dir": default_cache_dir(environ)} | _without_empty(given)
        try:
            settings = cls(**values)
        except ValidationError as exc:
            error = exc.errors(include_url=False)[0]
            variable = PREFIX + str(error["loc"][0]).upper()
            pattern = error.get("ctx", {}).get("pattern")
            reason = f"it takes {WORDS[pattern]}" if pattern else error["msg"]
            raise ConfigError(
                f"{variable} is not usable: {reason}; see docs/reference/settings.md"
            ) from exc
        settings.check()
        return settings

    @classmethod
    def _secrets(cls) -> list[str]:
        return [
            name
            for name, field in cls.model_fields.items()
            if SecretStr in {field.annotation, *get_args(field.annotation)}
        ]

    @property
    def most_threads(self) -> int:
        """The most shards that a worker process handles at a time."""
        return self.worker_threads or MAX_CHOSEN_THREADS

    def check(self) -> None:
        """Check what no field can check alone.

        Raises:
            ConfigError: A credential is incomplete, or a URL is of the wrong kind.
        """
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            raise ConfigError(
                "FORNADA_S3_ACCESS_KEY_ID and FORNADA_S3_SECRET_ACCESS_KEY belong together, and "
                "one is missing; set both or neither"
            )
        check_redis_scheme(self.redis_url.get_secret_value())
        endpoint = self.s3_endpoint_url
        if endpoint is not None and not endpoint.startswith(("http://", "https://")):
            # Without the URL, which may hold a password.
            raise ConfigError(
                "FORNADA_S3_ENDPOINT_URL is not the URL of a store; begin it with http:// or https://"
            )


def check_redis_scheme(url: str) -> None:
    """Check that `url` begins as a URL of Redis does.

    Raises:
        ConfigError: It does not.
    """
    if not url.startswith(_REDIS_SCHEMES):
        # Shows no part of the value: a URL cut short may begin with the password.
        raise ConfigError(
            "FORNADA_REDIS_URL is not a Redis URL; begin it with " + ", ".join(_REDIS_SCHEMES)
        )


def _with_secrets_read(given: dict[str, str], secrets: list[str]) -> dict[str, str]:
    """Those of `secrets` that are given as `<name>_file` replaced by what the file holds."""
    read = dict(given)
    for name in secrets:
        path = read.pop(f"{name}_file", "")
        if not path:
            continue
        variable = PREFIX + name.upper()
        if read.get(name):
            raise ConfigError(f"{variable} and {variable}_FILE are both set; unset one")
        read[name] = _secret_in(path, f"{variable}_FILE")
    return read


def _secret_in(path: str, variable: str) -> str:
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(_MAX_SECRET_CHARACTERS).strip()
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8"
        raise ConfigError(
            f"{variable} names {path!r}, which cannot be read ({why}); name a file with the secret "
            "alone"
        ) from exc
    if not text:
        raise ConfigError(f"{variable} names {path!r}, which is empty; put the secret there")
    return text


def _without_empty(given: dict[str, str]) -> dict[str, Any]:
    # Compose files pass `${FORNADA_X:-}` as an empty string if it is unset.
    return {name: value for name, value in given.items() if value != ""}


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {PREFIX}{near[0].upper()}?" if near else "unset it"
    return f"{PREFIX}{name.upper()} is not a setting; {hint} (all: docs/reference/settings.md)"
