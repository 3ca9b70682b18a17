"""Fornada's targets, as ratios within one run: a floor that must hold, and an aim."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

#: Medians by contender, as `rounds.medians` gives them.
Medians = Mapping[str, Mapping[str, Any]]


class MissingFigureError(LookupError):
    """The run lacks a contender or a figure."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """One figure with its floor and its aim."""

    name: str
    unit: str
    floor: float
    aim: float
    value: Callable[[Medians], float]

    @property
    def less_is_better(self) -> bool:
        """Whether the floor is a ceiling."""
        return self.aim < self.floor


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The result of a target."""

    name: str
    unit: str
    floor: float
    aim: float
    #: `None`: the run lacks a figure for it.
    value: float | None
    #: `aim`, `pass`, `FAIL`, or `not measured` with the reason.
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
    """The composed limit of plain boto3 with 4 threads and the engine."""
    return composed_limit(
        figure(medians, "store-boto3", workload), figure(medians, f"limit-{engine}", workload)
    )


def targets_of(engine: str) -> list[Target]:
    """The targets of Fornada with this engine."""
    fornada = f"fornada-{engine}"

    def over(workload: str, peer: str, name: str = "rate") -> Callable[[Medians], float]:
        return lambda m: figure(m, fornada, workload) / figure(m, peer, workload, name)

    def over_servers(medians: Medians) -> float:
        faster = max(figure(medians, peer, "predict") for peer in ("litserve", "bentoml"))
        return figure(medians, fornada, "predict") / faster

    def over_http(medians: Medians) -> float:
        ours = max(figure(medians, f"{name}-{engine}", "predict") for name in ("gateway", "infer"))
        peers = ("litserve", "bentoml", "mlserver")
        return ours / max(figure(medians, peer, "predict") for peer in peers)

    def start(medians: Medians) -> float:
        return figure(medians, fornada, "mlp", "since_worker_start_s")

    ratios: list[tuple[str, float, float, Callable[[Medians], float]]] = [
        (
            "mlp / composed limit",
            1.0,
            1.5,
            lambda m: figure(m, fornada, "mlp") / composed_limit_of(m, "mlp", engine),
        ),
        ("mlp / plain script", 3.0, 5.0, over("mlp", "plain")),
        ("mlp / BentoML", 1.7, 2.5, over("mlp", "bentoml")),
        ("mlp / Ray Data, steady", 1.7, 2.5, over("mlp", "ray", "steady_rate")),
        ("mlp / Celery template", 120.0, 200.0, over("mlp", "template")),
        ("cnn / in-process limit", 0.93, 0.98, over("cnn", f"limit-{engine}")),
        ("predict / faster of LitServe, BentoML", 1.0, 2.0, over_servers),
        ("gateway / fastest of LitServe, BentoML, MLServer", 1.0, 1.3, over_http),
    ]
    ratios += _of_photos(engine)
    openvino = engine == "openvino"
    return [
        *(Target(name=n, unit="x", floor=f, aim=a, value=v) for n, f, a, v in ratios),
        Target(
            name="durable one-image jobs",
            unit="/s",
            floor=150,
            aim=500,
            value=lambda m: figure(m, fornada, "submit"),
        ),
        Target(
            name="fixed cost of a shard",
            unit="ms",
            floor=12,
            aim=5,
            value=lambda m: figure(m, f"shards-{engine}", "shards", "shard_ms"),
        ),
        Target(
            name="worker start to first result",
            unit="s",
            floor=2 if openvino else 6,
            aim=1 if openvino else 4,
            value=start,
        ),
        Target(
            name="worker's memory after mlp",
            unit="MiB",
            floor=350 if openvino else 900,
            aim=250 if openvino else 700,
            value=lambda m: _service_rss(m, fornada),
        ),
        *_photo_bytes(),
    ]


def _of_photos(engine: str) -> list[tuple[str, float, float, Callable[[Medians], float]]]:
    """Name, floor, aim and value of the targets for photographs."""

    def rate(medians: Medians, workload: str) -> float:
        return figure(medians, f"photos-{engine}", workload)

    def limit(medians: Medians, workload: str) -> float:
        decode = figure(medians, "photos-decode", workload)
        return composed_limit(decode, figure(medians, f"limit-{engine}", workload))

    def over(workload: str, peer: str, name: str = "rate") -> Callable[[Medians], float]:
        return lambda m: rate(m, workload) / figure(m, peer, workload, name)

    limited = {"photos": "photos", "photos-tar": "photos", "photos-parquet": "photos"}
    limited["photos-cnn"] = "photos-cnn"
    return [
        ("photos / tf.data and predict", 1.0, 1.3, over("photos", "photos-tf-data")),
        ("photos / Ray Data, steady", 1.5, 3.0, over("photos", "photos-ray", "steady_rate")),
        ("photos / load_img and predict", 2.0, 4.0, over("photos", "photos-plain")),
        ("photos-cnn / tf.data and predict", 1.0, 1.3, over("photos-cnn", "photos-tf-data")),
        *(
            (
                f"{name} / composed limit",
                0.95,
                1.1,
                lambda m, name=name, of=of: rate(m, name) / limit(m, of),
            )
            for name, of in limited.items()
        ),
    ]


def _photo_bytes() -> list[Target]:
    """Bytes that are moved from the store, as a multiple of those of the files."""
    return [
        Target(
            name=f"{workload}, bytes moved / bytes of the files",
            unit="x",
            floor=1.1,
            aim=1.02,
            value=lambda m, workload=workload: figure(m, "photos-bytes", workload, "moved"),  # type: ignore[misc]  # no types of defaults
        )
        for workload in ("photos", "photos-tar", "photos-parquet")
    ]


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
        sign = -1 if target.less_is_better else 1
        reached_aim, reached_floor = (sign * value >= sign * x for x in (target.aim, target.floor))
        verdict = "aim" if reached_aim else "pass" if reached_floor else "FAIL"
    return Verdict(
        name=target.name,
        unit=target.unit,
        floor=target.floor,
        aim=target.aim,
        value=value,
        verdict=verdict,
    )
