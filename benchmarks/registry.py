"""The contenders, their workloads and environments; and who is left out, with the reason."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.photos import workloads as photos
from fornada.local.gateway import has_gateway
from fornada.settings import Settings
from model_store.engines.catalog import find_engine
from producer.client import Client

ENGINES = ("keras", "openvino")
#: Where a ratio is close to its target, passes are longer: on a shared machine they differ by 10 %.
_CLOSE_S = 6.0


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A program that runs some of the workloads."""

    name: str
    #: Its name in tables and charts.
    label: str
    #: The module to run, and its arguments.
    module: str
    arguments: tuple[str, ...] = ()
    #: In order.
    workloads: tuple[str, ...]
    #: `limit`, `store`, `peer` or `fornada`.
    kind: str
    #: A folder of `benchmarks/peers`; `None`: the project's environment.
    environment: str | None = None
    #: Of slow contenders: the number of objects or images of a workload, in place of all.
    at_most: Mapping[str, int] = field(default_factory=dict)
    #: Passes repeat until then; `None`: the run's own limit.
    pass_s: float | None = None
    #: Settings of its Fornada deployment.
    settings: Mapping[str, str] = field(default_factory=dict)
    #: The tree that its code comes from; `None`: this one.
    root: Path | None = None


#: Contenders whose ratio is a target run side by side: the pace of a shared machine drifts.
_ORDER = (
    "limit-keras",
    "fornada-keras",
    "photos-keras",
    "photos-tf-data",
    "photos-decode",
    "photos-openvino",
    "photos-plain",
    "photos-ray",
    "photos-bytes",
    "store-boto3",
    "store-fornada",
    "bentoml",
    "gateway-keras",
    "infer-keras",
    "fornada-openvino",
    "limit-openvino",
    "litserve",
    "gateway-openvino",
    "infer-openvino",
    "mlserver",
    "ray",
    "plain",
    "template",
    "shards-keras",
    "shards-openvino",
)


def contenders() -> tuple[list[Contender], dict[str, str]]:
    """The contenders that can run here, in order, and why others, or parts of them, cannot."""
    left_out: dict[str, str] = {}
    able = [engine for engine in ENGINES if _able(engine, left_out)]
    found = [_limit(engine) for engine in ENGINES if _installed(engine)]
    found += _STORES + _PEERS + _PHOTOS
    for engine in able:
        found += [_fornada(engine, left_out), _shards(engine), _photos(engine)]
        if has_gateway():
            found += [_gateway(engine, "predict"), _gateway(engine, "infer")]
    return sorted(found, key=lambda contender: _ORDER.index(contender.name)), left_out


def _installed(engine: str) -> bool:
    return find_engine(engine).missing_module() is None


def _able(engine: str, left_out: dict[str, str]) -> bool:
    if not _installed(engine):
        left_out[f"in-process and fornada, {engine}"] = f"{engine} is not installed"
        return False
    if engine != "keras" and "engine" not in Settings.model_fields:
        left_out[f"fornada, {engine}"] = "this Fornada has no setting FORNADA_ENGINE"
        return False
    return True


def _limit(engine: str) -> Contender:
    return Contender(
        name=f"limit-{engine}",
        label=f"in-process limit, {engine}",
        module="benchmarks.contenders.in_process",
        arguments=(engine,),
        workloads=("mlp", "cnn", "photos", "photos-cnn"),
        kind="limit",
        pass_s=_CLOSE_S,
    )


_STORES = [
    Contender(
        name="store-boto3",
        label="store path alone, boto3",
        module="benchmarks.contenders.store_path",
        arguments=("boto3",),
        workloads=("mlp", "cnn"),
        kind="store",
    ),
    Contender(
        name="store-fornada",
        label="store path alone, Fornada's client",
        module="benchmarks.contenders.store_path",
        arguments=("fornada",),
        workloads=("mlp", "cnn"),
        kind="store",
    ),
]

_PEERS = [
    Contender(
        name="plain",
        label="plain script",
        module="benchmarks.contenders.plain_script",
        workloads=("mlp", "cnn"),
        kind="peer",
    ),
    Contender(
        name="ray",
        label="Ray Data",
        module="benchmarks.contenders.ray_data",
        workloads=("mlp",),
        kind="peer",
        environment="ray",
    ),
    Contender(
        name="bentoml",
        label="BentoML",
        module="benchmarks.contenders.bento",
        workloads=("mlp", "predict"),
        kind="peer",
        environment="bentoml",
    ),
    Contender(
        name="litserve",
        label="LitServe",
        module="benchmarks.contenders.lit",
        workloads=("mlp", "predict"),
        kind="peer",
        environment="litserve",
    ),
    Contender(
        name="mlserver",
        label="MLServer",
        module="benchmarks.contenders.ml_server",
        workloads=("predict",),
        kind="peer",
        environment="mlserver",
    ),
    Contender(
        name="template",
        label="Celery template, JSON",
        module="benchmarks.contenders.celery_template",
        workloads=("mlp", "predict"),
        kind="peer",
        at_most={"mlp": 1, "predict": 200},
    ),
]


#: With a pass of some seconds each, none needs another.
_PHOTOS = [
    Contender(
        name="photos-decode",
        label="decoding alone, on all cores",
        module="benchmarks.contenders.photo_decode",
        workloads=("photos", "photos-cnn"),
        kind="store",
        pass_s=0.0,
    ),
    Contender(
        name="photos-bytes",
        label="Fornada, bytes counted",
        module="benchmarks.contenders.photo_bytes",
        arguments=("keras",),
        workloads=("photos", "photos-tar", "photos-parquet"),
        kind="store",
        at_most={"photos": 100, "photos-tar": 1, "photos-parquet": 1},
        pass_s=0.0,
    ),
    Contender(
        name="photos-tf-data",
        label="tf.data and predict",
        module="benchmarks.contenders.photo_tf_data",
        workloads=("photos", "photos-cnn"),
        kind="peer",
        at_most={"photos": 1000},
        pass_s=0.0,
    ),
    Contender(
        name="photos-plain",
        label="load_img and predict",
        module="benchmarks.contenders.photo_plain",
        workloads=("photos", "photos-cnn"),
        kind="peer",
        at_most={"photos": 300, "photos-cnn": 500},
        pass_s=0.0,
    ),
    Contender(
        name="photos-ray",
        label="Ray Data, read_images",
        module="benchmarks.contenders.photo_ray",
        workloads=("photos", "photos-cnn"),
        kind="peer",
        environment="ray",
        at_most={"photos": 1000},
        pass_s=0.0,
    ),
]


def _photos(engine: str) -> Contender:
    return Contender(
        name=f"photos-{engine}",
        label=f"Fornada, {engine}",
        module="benchmarks.contenders.photo_jobs",
        arguments=(engine,),
        workloads=tuple(photos.WORKLOADS),
        kind="fornada",
        pass_s=0.0,
        settings=_engine_setting(engine),
    )


def _engine_setting(engine: str) -> dict[str, str]:
    return {"FORNADA_ENGINE": engine} if "engine" in Settings.model_fields else {}


def _fornada(engine: str, left_out: dict[str, str]) -> Contender:
    workloads: tuple[str, ...] = ("mlp", "cnn", "predict", "submit")
    if not hasattr(Client, "predict"):
        left_out[f"fornada-{engine}, predict"] = "this Fornada's client has no method predict"
        workloads = ("mlp", "cnn", "submit")
    return Contender(
        name=f"fornada-{engine}",
        label=f"Fornada, {engine}",
        module="benchmarks.contenders.fornada_jobs",
        arguments=(engine,),
        workloads=workloads,
        kind="fornada",
        pass_s=_CLOSE_S,
        settings=_engine_setting(engine),
    )


def _gateway(engine: str, protocol: str) -> Contender:
    name, of = ("gateway", "predict") if protocol == "predict" else ("infer", "Open Inference")
    return Contender(
        name=f"{name}-{engine}",
        label=f"Fornada's gateway, {engine}, {of}",
        module="benchmarks.contenders.fornada_gateway",
        arguments=(engine, protocol),
        workloads=("predict",),
        kind="fornada",
        pass_s=_CLOSE_S,
        settings=_engine_setting(engine),
    )


def _shards(engine: str) -> Contender:
    return Contender(
        name=f"shards-{engine}",
        label=f"Fornada, {engine}, shard by shard",
        module="benchmarks.contenders.fornada_shards",
        arguments=(engine,),
        workloads=("shards",),
        kind="fornada",
        settings={
            **_engine_setting(engine),
            "FORNADA_WORKER_THREADS": "1",
            "FORNADA_MAX_BATCH_SIZE": "1",
        },
    )
