"""The contenders, their workloads and environments; and who is left out, with the reason."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.photos import workloads as photos
from fornada.local.gateway import has_gateway
from model_store.engines.catalog import find_engine

#: The engines that are measured, where they are installed; the first one also serves calls over
#: HTTP and runs shard by shard, which cost the same on any.
ENGINES = ("keras", "openvino", "jax")
#: Those that predict photographs, which take minutes.
PHOTO_ENGINES = ENGINES[:2]
#: Where a ratio is close to its target, passes go on longer: they differ by 10 %.
_CLOSE = {"mlp": 4.0, "cnn": 4.0}
_STORED = ("mlp", "cnn", "resnet", "table")


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
    #: The engine of ours that it runs on; `None`: the peer's own way.
    engine: str | None = None
    #: A folder of `benchmarks/peers`; `None`: the project's environment.
    environment: str | None = None
    #: Of slow contenders: the number of objects or calls of a workload, in place of all.
    at_most: Mapping[str, int] = field(default_factory=dict)
    #: The number of rounds, at most; `None`: all.
    rounds: int | None = None
    #: Passes of a workload repeat until then, in place of the run's own limit.
    pass_s: Mapping[str, float] = field(default_factory=dict)
    #: Settings of its Fornada deployment.
    settings: Mapping[str, str] = field(default_factory=dict)
    #: The tree that its code comes from; `None`: this one.
    root: Path | None = None


def contenders(engines: Sequence[str] = ENGINES) -> tuple[list[Contender], dict[str, str]]:
    """The contenders that can run here with these engines, in order, and why others cannot."""
    missing = {engine: find_engine(engine).missing_module() for engine in engines}
    left_out = {
        f"in-process and Fornada, {engine}": f"{module} is not installed"
        for engine, module in missing.items()
        if module is not None
    }
    able = [None, *(engine for engine, module in missing.items() if module is None)]
    return [one for one in _all() if one.engine in able], left_out


def _all() -> Iterator[Contender]:
    """Those of a target run side by side: the pace of a shared machine drifts."""
    first, *others = ENGINES
    yield from (_limit(first), _fornada(first), *_STORES, *_SERVERS)
    if has_gateway():
        yield from (_gateway(first, "predict"), _gateway(first, "infer"))
    for engine in others:
        yield from (_fornada(engine), _limit(engine))
    yield from (*_SCRIPTS, _shards(first))
    for engine in PHOTO_ENGINES:
        yield from (_photo_limit(engine), _photos(engine))
    yield from _PHOTOS


def _limit(engine: str) -> Contender:
    return Contender(
        name=f"limit-{engine}",
        label=f"in-process limit, {engine}",
        module="benchmarks.contenders.in_process",
        arguments=(engine,),
        workloads=_STORED,
        kind="limit",
        engine=engine,
        pass_s=_CLOSE,
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

_SERVERS = [
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
]

_SCRIPTS = [
    Contender(
        name="ray",
        label="Ray Data",
        module="benchmarks.contenders.ray_data",
        workloads=("mlp", "table"),
        kind="peer",
        environment="ray",
    ),
    Contender(
        name="plain",
        label="plain script",
        module="benchmarks.contenders.plain_script",
        workloads=_STORED,
        kind="peer",
    ),
    Contender(
        name="template",
        label="Celery template, JSON",
        module="benchmarks.contenders.celery_template",
        workloads=("mlp", "predict"),
        kind="peer",
        at_most={"mlp": 1, "predict": 100},
        # It takes longest to start, and its ratios are far from any other.
        rounds=1,
    ),
]


#: It takes as long as all passes of other workloads in all rounds.
_ONE_PASS = dict.fromkeys(photos.MODELS, 0.0)
_PHOTOS = [
    Contender(
        name="photos-decode",
        label="decoding alone, on all cores",
        module="benchmarks.contenders.photo_decode",
        workloads=("photos", "photos-cnn"),
        kind="store",
        rounds=1,
        pass_s=_ONE_PASS,
    ),
    Contender(
        name="photos-bytes",
        label="Fornada, bytes counted",
        module="benchmarks.contenders.photo_bytes",
        arguments=("keras",),
        workloads=("photos", "photos-tar", "photos-parquet"),
        kind="store",
        engine="keras",
        at_most={"photos": 100, "photos-tar": 1, "photos-parquet": 1},
        rounds=1,
        pass_s=_ONE_PASS,
    ),
    Contender(
        name="photos-tf-data",
        label="tf.data and predict",
        module="benchmarks.contenders.photo_tf_data",
        workloads=("photos", "photos-cnn"),
        kind="peer",
        at_most={"photos": 1000},
        rounds=1,
        pass_s=_ONE_PASS,
    ),
    Contender(
        name="photos-plain",
        label="load_img and predict",
        module="benchmarks.contenders.photo_plain",
        workloads=("photos", "photos-cnn"),
        kind="peer",
        at_most={"photos": 300, "photos-cnn": 500},
        rounds=1,
        pass_s=_ONE_PASS,
    ),
    Contender(
        name="photos-ray",
        label="Ray Data, read_images",
        module="benchmarks.contenders.photo_ray",
        workloads=("photos", "photos-cnn"),
        kind="peer",
        environment="ray",
        at_most={"photos": 1000},
        rounds=1,
        pass_s=_ONE_PASS,
    ),
]


def _photo_limit(engine: str) -> Contender:
    return Contender(
        name=f"photos-limit-{engine}",
        label=f"in-process limit, {engine}",
        module="benchmarks.contenders.in_process",
        arguments=(engine,),
        workloads=("photos", "photos-cnn"),
        kind="limit",
        engine=engine,
        rounds=1,
    )


def _photos(engine: str) -> Contender:
    return Contender(
        name=f"photos-{engine}",
        label=f"Fornada, {engine}",
        module="benchmarks.contenders.photo_jobs",
        arguments=(engine,),
        workloads=tuple(photos.MODELS),
        kind="fornada",
        rounds=1,
        pass_s=_ONE_PASS,
        engine=engine,
        settings={"FORNADA_ENGINE": engine},
    )


def _fornada(engine: str) -> Contender:
    return Contender(
        name=f"fornada-{engine}",
        label=f"Fornada, {engine}",
        module="benchmarks.contenders.fornada_jobs",
        arguments=(engine,),
        workloads=(*_STORED, "predict", "submit"),
        kind="fornada",
        engine=engine,
        pass_s=_CLOSE,
        settings={"FORNADA_ENGINE": engine},
    )


def _gateway(engine: str, protocol: str) -> Contender:
    name, of = ("gateway", "predict") if protocol == "predict" else ("infer", "Open Inference")
    return Contender(
        name=f"{name}-{engine}",
        label=f"gateway, {of}",
        module="benchmarks.contenders.fornada_gateway",
        arguments=(engine, protocol),
        workloads=("predict",),
        kind="fornada",
        engine=engine,
        settings={"FORNADA_ENGINE": engine},
    )


def _shards(engine: str) -> Contender:
    return Contender(
        name=f"shards-{engine}",
        label=f"Fornada, {engine}",
        module="benchmarks.contenders.fornada_shards",
        arguments=(engine,),
        workloads=("shards",),
        kind="fornada",
        engine=engine,
        settings={
            "FORNADA_ENGINE": engine,
            "FORNADA_WORKER_THREADS": "1",
            "FORNADA_MAX_BATCH_SIZE": "1",
        },
    )
