"""`python -m benchmarks.fleet`: 10 million images on fleets of up to 1,000 workers, simulated.

Writes the figures of docs/capacity.md.
"""

import datetime as dt
import tempfile
from collections.abc import Iterator
from pathlib import Path

import click

from benchmarks.fleet.costs import Costs
from benchmarks.fleet.measure import measure
from benchmarks.fleet.simulation import Fleet, Run, Store, embedded, simulate
from benchmarks.measuring import machine
from benchmarks.reporting.table import lined_up

_RESULTS = Path(__file__).parents[1] / "results" / "fleet-costs.json"
_IMAGES = 10**7
_WORKERS = (10, 100, 1000)
#: Images a shard, and the seconds that it takes a worker.
_SHARDS = ((1024, 0.1), (64, 1.0), (640, 10.0))
#: Of Amazon S3 from the same region, about.
_REQUEST_S = 0.02
_WINDOWS = (1000, 4000)


@click.command()
@click.option("--measured", is_flag=True, help="Measure the costs anew, in two minutes.")
def main(measured: bool) -> None:  # noqa: FBT001 - click passes flags by name
    """Simulate fleets.

    Example: python -m benchmarks.fleet --measured
    """
    if measured:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            measure(Path(folder)).write(
                _RESULTS,
                date=f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%MZ}",
                commit=machine.commit(Path(__file__).parents[2]),
                machine=machine.describe(),
                load=machine.load(),
            )
    costs = Costs.read(_RESULTS)
    rows = [
        [
            "a shard",
            "store",
            "workers",
            "window",
            "shards/s",
            "of linear",
            "work",
            "end",
            "no message",
            "busy",
        ]
    ]
    rows += (_row(name, fleet, simulate(fleet, costs)) for name, fleet in _fleets(costs))
    print(lined_up(rows))


def _fleets(costs: Costs) -> Iterator[tuple[str, Fleet]]:
    stores = {
        "embedded": embedded(costs),
        "S3": Store(request_s=_REQUEST_S, servers=10**4),
    }
    for images, shard_s in _SHARDS:
        for name, store in stores.items():
            for workers in _WORKERS:
                for window in _WINDOWS if workers == _WORKERS[-1] else _WINDOWS[:1]:
                    yield (
                        name,
                        Fleet(
                            workers=workers,
                            threads=1,
                            shards=_IMAGES // images,
                            shard_s=shard_s,
                            store=store,
                            window=window,
                        ),
                    )


def _row(store: str, fleet: Fleet, run: Run) -> list[str]:
    busy = ", ".join(f"{name} {share:.0%}" for name, share in run.busy.items())
    return [
        f"{fleet.shard_s:g} s",
        store,
        f"{fleet.workers:,}",
        f"{fleet.window:,}",
        f"{run.shards_per_s:.0f}",
        f"{run.efficiency:.0%}",
        f"{run.working_s:,.0f} s",
        f"{run.ending_s:,.0f} s",
        f"{run.idle:.0%}",
        busy,
    ]


if __name__ == "__main__":
    main()
