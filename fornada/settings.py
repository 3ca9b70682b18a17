"""Every setting, read from `FORNADA_*` once, at start; an unknown one is an error."""

import difflib
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from fornada.errors import ConfigError
from fornada.records import MAX_INLINE_BYTES

PREFIX = "FORNADA_"
MAX_BATCH_SIZE = 65_536
#: Where `worker_threads` is unset. More want Python's lock more than they wait for the store.
MAX_CHOSEN_THREADS = 32


class Settings(BaseModel):
    """What a process needs to know of the world around it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    redis_url: SecretStr = Field(
        default=SecretStr("redis://127.0.0.1:6379/0"),
        description="Redis or Valkey, 7.2 or newer: the queue, and counters that may be lost. "
        "One deployment has the database to itself.",
    )
    queue: str = Field(
        default="fornada",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
        description="Queue that producers fill and workers empty.",
    )
    s3_endpoint_url: str | None = Field(
        default=None,
        description="The S3-compatible store, e.g. http://127.0.0.1:9000. Unset: AWS.",
    )
    s3_bucket: str = Field(
        default="fornada", min_length=1, description="Bucket of models and jobs."
    )
    s3_region: str = Field(default="us-east-1", description="Region to sign for.")
    s3_access_key_id: str | None = Field(
        default=None,
        description="Unset: boto3's own search (environment, profile, instance role).",
    )
    s3_secret_access_key: SecretStr | None = Field(
        default=None, description="Belongs to FORNADA_S3_ACCESS_KEY_ID."
    )
    items_per_shard: int = Field(
        default=4096,
        ge=1,
        le=1_000_000,
        description="Items in one shard: the unit of retry, and one message.",
    )
    max_shard_bytes: int = Field(
        default=256 * 1024 * 1024,
        ge=1024,
        description="Largest input of a shard. A shard is in memory whole.",
    )
    max_inline_bytes: int = Field(
        default=MAX_INLINE_BYTES,
        ge=0,
        le=MAX_INLINE_BYTES,
        description="Inputs of a job that have no more together are kept in its manifest, and "
        "travel in its message; small results are kept in the outcomes. 0: always objects.",
    )
    enqueue_window: int = Field(
        default=1000,
        ge=1,
        description="Messages in the queue at most; the rest of a job follows as it drains.",
    )
    max_attempts: int = Field(
        default=5, ge=1, le=100, description="Times that a shard is begun before it is dead."
    )
    shard_deadline_s: float = Field(
        default=600.0,
        gt=0,
        description="A worker process that needs longer for a shard is stopped and replaced.",
    )
    max_batch_size: int | None = Field(
        default=None,
        ge=1,
        le=MAX_BATCH_SIZE,
        description="Rows of every predict call (padded). Other rows, perhaps other low bits. "
        "Unset: tried out for each model on each kind of machine, once; `fornada doctor` shows it.",
    )
    max_latency_s: float = Field(
        default=0.005,
        ge=0,
        le=10,
        description="How long a batch that is not full waits for rows of other shards.",
    )
    worker_threads: int | None = Field(
        default=None,
        ge=1,
        le=256,
        description="Shards that one worker process fetches, feeds and uploads at a time, and the "
        "messages it takes. Unset: as many as keep its cores busy, by what a shard waits for the "
        "store and computes, tried when a model is loaded; `fornada doctor` shows it.",
    )
    engine: str = Field(
        default="keras",
        # The names are in the catalog of `model_store.engines`, which this package cannot see.
        pattern=r"^[a-z][a-z0-9-]{0,63}$",
        description="What workers predict with; see [engines](#engines).",
    )
    max_loaded_models: int = Field(
        default=4, ge=1, description="Models that one worker process keeps in memory."
    )
    model_memory_bytes: int = Field(
        default=2 * 1024**3,
        ge=1,
        description="Their artifacts' sizes together; what they take in memory is a small multiple "
        "of that. Least recently used models go first, those in use never.",
    )
    warm_models: str | None = Field(
        default=None,
        description="Models that a worker loads before it takes work, with commas between: "
        "`digits@prod,fashion-mnist`.",
    )
    accepted_models: str | None = Field(
        default=None,
        description="Names of models that a worker loads: globs, with commas between. Unset: all.",
    )
    model_public_key: str | None = Field(
        default=None,
        description="PEM file of an Ed25519 public key: a worker loads only models that are signed "
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
        default=Path(tempfile.gettempdir()) / "fornada-cache",
        description="Where workers keep artifacts by digest, and their signs of life.",
    )
    lease_s: float = Field(
        default=30.0,
        ge=1,
        description="A shard whose worker shows no life for so long is given to another.",
    )
    reconcile_interval_s: float = Field(
        default=1.0,
        gt=0,
        description="How often lost messages are looked for and enqueued again.",
    )
    requeue_after_s: float = Field(
        default=60.0,
        gt=0,
        description="A message that nobody began for so long, the queue empty, counts as lost.",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least level that is logged."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto", description="auto: console on a terminal, else JSON lines."
    )

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> Self:
        """The settings in `environ`, which is usually `os.environ`.

        Raises:
            ConfigError: A variable is unknown or its value is wrong; names the variable.
        """
        given = {
            name.removeprefix(PREFIX).lower(): value
            for name, value in environ.items()
            if name.startswith(PREFIX)
        }
        for name in given:
            if name not in cls.model_fields:
                raise ConfigError(_unknown(name, list(cls.model_fields)))
        try:
            settings = cls(**_without_empty(given))
        except ValidationError as exc:
            error = exc.errors(include_url=False)[0]
            variable = PREFIX + str(error["loc"][0]).upper()
            raise ConfigError(
                f"{variable} is not usable: {error['msg']}; see docs/reference/settings.md"
            ) from exc
        settings.check()
        return settings

    @property
    def most_threads(self) -> int:
        """How many shards a worker process may have in hand."""
        return self.worker_threads or MAX_CHOSEN_THREADS

    def check(self) -> None:
        """Check what one field alone cannot tell.

        Raises:
            ConfigError: Half a credential, or a URL of the wrong kind.
        """
        if (self.s3_access_key_id is None) != (self.s3_secret_access_key is None):
            raise ConfigError(
                "FORNADA_S3_ACCESS_KEY_ID and FORNADA_S3_SECRET_ACCESS_KEY belong together, and "
                "one is missing; set both or neither"
            )
        redis_url = self.redis_url.get_secret_value()
        if not redis_url.startswith(("redis://", "rediss://", "unix://")):
            # Not a word of it is shown: a URL cut short may begin with the password.
            raise ConfigError(
                "FORNADA_REDIS_URL is not a Redis URL; begin it with redis://, rediss:// or unix://"
            )
        endpoint = self.s3_endpoint_url
        if endpoint is not None and not endpoint.startswith(("http://", "https://")):
            raise ConfigError(
                f"FORNADA_S3_ENDPOINT_URL is {endpoint!r}; it begins with http:// or https://"
            )


def _without_empty(given: dict[str, str]) -> dict[str, Any]:
    # Compose files pass `${FORNADA_X:-}` as an empty string when nobody set it.
    return {name: value for name, value in given.items() if value != ""}


def _unknown(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {PREFIX}{near[0].upper()}?" if near else "unset it"
    return f"{PREFIX}{name.upper()} is not a setting; {hint} (all: docs/reference/settings.md)"
