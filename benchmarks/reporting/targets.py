"""Fornada's targets, as ratios within one run: a floor that must hold, and an aim."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from benchmarks.photos import workloads as photos
from benchmarks.registry import ENGINES, PHOTO_ENGINES

#: Medians by contender, as `rounds.medians` gives them.
Medians = Mapping[str, Mapping[str, Any]]


class MissingFigureError(LookupError):
    """The run lacks a contender or a figure."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One figure with its floor and its aim; of a smaller aim, the floor is a ceiling."""

    name: str
    unit: str = "x"
    #: `None`: the figure is only reported.
    floor: float | None = None
    aim: float | None = None
    value: Callable[[Medians], float]


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of a target."""

    name: str
    unit: str
    floor: float | None
    aim: float | None
    #: `None`: the run lacks a figure for it.
    value: float | None
    #: `aim`, `pass`, `FAIL`; `no floor`; or `not measured` with the reason.
    verdict: str


def figure(medians: Medians, contender: str, workload: str, name: str = "rate") -> float:
    """One median.

    Raises:
        MissingFigureError: The run lacks it.
    """
    try:
        return float(medians[contender]["workloads"][workload][name])
    except KeyError:
        raise MissingFigureError(f"{contender} has no {name} of {workload}") from None


def composed_limit(store: float, compute: float) -> float:
    """Items/s of two steps that share the cores, one after the other for each item."""
    return 1 / (1 / store + 1 / compute)


def composed_limit_of(medians: Medians, workload: str, engine: str) -> float:
    """The composed limit of the engine, and of plain boto3 or of decoding photographs."""
    first, limit = "store-boto3", f"limit-{engine}"
    if workload in photos.MODELS:
        first, limit = "photos-decode", f"photos-{limit}"
    alone = photos.ALONE.get(workload, workload)
    return composed_limit(figure(medians, first, alone), figure(medians, limit, alone))


def fastest(medians: Medians, workload: str, contenders: Sequence[str]) -> float:
    """The rate of the fastest of these contenders.

    Raises:
        MissingFigureError: One was not measured.
    """
    return max(figure(medians, contender, workload) for contender in contenders)


#: Floor and aim by engine, where they differ.
_CNN = {"keras": (0.93, 1.0), "openvino": (0.90, 0.98)}
_START_S = {"keras": (6.0, 4.0), "openvino": (2.0, 1.0)}
_MEMORY_MIB = {"keras": (900.0, 700.0), "openvino": (350.0, 250.0)}
_HTTP_PEERS = ("litserve", "bentoml", "mlserver")
_HTTP = "fastest of LitServe, BentoML, MLServer"


def targets_of(engine: str) -> list[Target]:
    """The targets of Fornada with this engine."""
    targets = [*_ratios(engine), *_absolute(engine)]
    if engine in PHOTO_ENGINES:
        targets += _of_photos(engine)
    return [*targets, *_of_one_engine(engine)] if engine == ENGINES[0] else targets


def _ratios(engine: str) -> Iterator[Target]:
    fornada = f"fornada-{engine}"

    def ratio(
        workload: str,
        to: str,
        other: Callable[[Medians], float],
        floor: float | None = None,
        aim: float | None = None,
    ) -> Target:
        def value(medians: Medians) -> float:
            return figure(medians, fornada, workload) / other(medians)

        return Target(name=f"{workload} / {to}", floor=floor, aim=aim, value=value)

    def rate(peer: str, workload: str, name: str = "rate") -> Callable[[Medians], float]:
        return lambda medians: figure(medians, peer, workload, name)

    limit, cnn = f"limit-{engine}", _of_engine(_CNN, engine)
    yield ratio("mlp", "composed limit", lambda m: composed_limit_of(m, "mlp", engine), 1.15, 1.5)
    yield ratio("mlp", "BentoML", rate("bentoml", "mlp"), 2.0, 3.0)
    yield ratio("mlp", "Ray Data, steady", rate("ray", "mlp", "steady_rate"), 2.5, 4.0)
    yield ratio("mlp", "plain script", rate("plain", "mlp"), 4.5, 8.0)
    yield ratio("mlp", "Celery template", rate("template", "mlp"), 250.0, 400.0)
    yield ratio("cnn", "in-process limit", rate(limit, "cnn"), *cnn)
    yield ratio("resnet", "in-process limit", rate(limit, "resnet"))
    yield ratio("resnet", "plain script", rate("plain", "resnet"))
    yield ratio("table", "Ray Data, steady", rate("ray", "table", "steady_rate"))
    yield ratio("table", "plain script", rate("plain", "table"))
    yield ratio("predict", _HTTP, lambda m: fastest(m, "predict", _HTTP_PEERS), 2.0, 4.0)


def _of_photos(engine: str) -> Iterator[Target]:
    ours = f"photos-{engine}"

    def over(workload: str, peer: str, name: str = "rate") -> Callable[[Medians], float]:
        return lambda m: figure(m, ours, workload) / figure(m, peer, workload, name)

    def of_limit(workload: str) -> Callable[[Medians], float]:
        return lambda m: figure(m, ours, workload) / composed_limit_of(m, workload, engine)

    ratios = [
        ("photos / tf.data and predict", 1.0, 1.3, over("photos", "photos-tf-data")),
        ("photos / Ray Data, steady", 1.5, 3.0, over("photos", "photos-ray", "steady_rate")),
        ("photos / load_img and predict", 2.0, 4.0, over("photos", "photos-plain")),
        ("photos-cnn / tf.data and predict", 1.0, 1.3, over("photos-cnn", "photos-tf-data")),
        *((f"{name} / composed limit", 0.95, 1.1, of_limit(name)) for name in photos.MODELS),
    ]
    for name, floor, aim, value in ratios:
        yield Target(name=name, floor=floor, aim=aim, value=value)


def _absolute(engine: str) -> Iterator[Target]:
    fornada = f"fornada-{engine}"
    yield Target(
        name="durable one-image jobs",
        unit="/s",
        floor=500,
        aim=1000,
        value=lambda m: figure(m, fornada, "submit"),
    )
    floor, aim = _of_engine(_START_S, engine)
    yield Target(
        name="worker start to first result",
        unit="s",
        floor=floor,
        aim=aim,
        value=lambda m: figure(m, fornada, "mlp", "since_worker_start_s"),
    )
    floor, aim = _of_engine(_MEMORY_MIB, engine)
    yield Target(
        name="worker's memory after mlp",
        unit="MiB",
        floor=floor,
        aim=aim,
        value=lambda m: _service_rss(m, fornada),
    )


def _of_one_engine(engine: str) -> Iterator[Target]:
    """What is measured with one engine only."""
    doors = (f"gateway-{engine}", f"infer-{engine}")
    yield Target(
        name=f"gateway / {_HTTP}",
        floor=1.0,
        aim=1.3,
        value=lambda m: fastest(m, "predict", doors) / fastest(m, "predict", _HTTP_PEERS),
    )
    for workload in ("photos", "photos-tar", "photos-parquet"):
        yield Target(
            name=f"{workload}, bytes moved / bytes of the files",
            floor=1.1,
            aim=1.02,
            value=partial(figure, contender="photos-bytes", workload=workload, name="moved"),
        )
    yield Target(
        name="fixed cost of a shard",
        unit="ms",
        floor=12,
        aim=5,
        value=lambda m: figure(m, f"shards-{engine}", "shards", "shard_ms"),
    )


def _of_engine(by_engine: Mapping[str, tuple[float, float]], engine: str) -> tuple[float, float]:
    # JAX on a CPU has none of its own; it takes about what TensorFlow does.
    return by_engine.get(engine, by_engine["keras"])


def _service_rss(medians: Medians, contender: str) -> float:
    if contender not in medians:
        raise MissingFigureError(f"{contender} is not in this run")
    return float(medians[contender]["service_rss_mib"])


def judged(target: Target, medians: Medians) -> Verdict:
    """Judge the target by a run's medians."""
    value: float | None = None
    try:
        value = target.value(medians)
    except MissingFigureError as exc:
        verdict = f"not measured: {exc}"
    else:
        verdict = _verdict(value, target.floor, target.aim)
    return Verdict(
        name=target.name,
        unit=target.unit,
        floor=target.floor,
        aim=target.aim,
        value=value,
        verdict=verdict,
    )


def _verdict(value: float, floor: float | None, aim: float | None) -> str:
    if floor is None or aim is None:
        return "no floor"
    sign = -1 if aim < floor else 1
    if sign * value >= sign * aim:
        return "aim"
    return "pass" if sign * value >= sign * floor else "FAIL"
