"""An outcome says what its shard took and what was predicted; a job's end has the sums."""

from typing import Any

import numpy as np
import pytest

from fornada.events import ClassesPredicted
from fornada.figures.predictions import CONFIDENCE_ENDS
from fornada.jobs.ids import message_for
from fornada.keys import JobKeys
from fornada.tensors import OutputTensor
from fornada.testing import TEST_KEYS


@pytest.fixture
def model(world: Any) -> Any:
    """The engine gives an item's sum s as [s, 2 s], of which the second is the likelier class."""
    tensor = OutputTensor(name="kind", shape=[2], kind="probabilities", classes=["cat", "dog"])
    return world.publish(gives=tensor)


def items(*sums: float) -> np.ndarray:
    return np.array([[s, 0, 0] for s in sums], np.float32)


def binned(*ends: float) -> list[int]:
    return [ends.count(end) for end in CONFIDENCE_ENDS]


def test_a_jobs_end_has_the_sums_of_its_shards(world: Any, model: Any) -> None:
    job = world.submit([items(0.25, 0.375), items(-0.5, np.nan, 0.125)])

    world.run(0)
    world.run(1)

    outcomes = [world.outcome(shard) for shard in range(2)]
    found = [outcome.figures.predicted["kind"] for outcome in outcomes]
    assert [[0, 2], [1, 1]] == [each.classes for each in found]
    assert [binned(0.5, 0.8), binned(0.1, 0.3)] == [each.confidence for each in found]
    figures = world.jobs.final("job").figures_for(job.gives)
    assert (2, [1, 3], 1.5) == (
        figures.shards,
        figures.predicted["kind"].classes,
        figures.predicted["kind"].confidence_sum,
    )
    sizes = [sum(ref.size_bytes for ref in shard.objects) for shard in job.shards]
    assert (sum(sizes), sum(o.data.size_bytes for o in outcomes)) == (
        figures.bytes_in,
        figures.bytes_out,
    )
    assert figures.cpu_s == sum(outcome.figures.cpu_s for outcome in outcomes) > 0
    assert figures.cost is None
    told = [event for event in world.heard if isinstance(event, ClassesPredicted)]
    assert [("kind", ["cat", "dog"], [0, 2]), ("kind", ["cat", "dog"], [1, 1])] == [
        (event.output, event.classes, event.class_counts) for event in told
    ]


def test_small_jobs_computed_together_have_figures_of_their_own(world: Any, model: Any) -> None:
    jobs = [world.submit_small([items(0.25)]), world.submit_small([items(-1.0, 0.5, 0.5)])]

    world.service.run_bundle([message_for(job, 0, deployment_keys=TEST_KEYS) for job in jobs])

    finals = [world.jobs.final(job.job_id) for job in jobs]
    figures = [final.figures_for(job.gives) for final, job in zip(finals, jobs, strict=True)]
    assert [[0, 1], [1, 2]] == [each.predicted["kind"].classes for each in figures]
    # By items: 1 and 3.
    assert figures[1].cpu_s == pytest.approx(3 * figures[0].cpu_s, abs=5e-6)
    assert [None, None] == [final.figures for final in finals]


def test_a_price_becomes_the_cost_of_a_job(world: Any, model: Any) -> None:
    world.settings = world.settings.model_copy(update={"price_per_cpu_hour": 3600.0})
    world.service = world.new_service("worker-1")
    job = world.submit([items(0.25), items(0.25)])

    world.run(0)
    world.run(1)

    figures = world.jobs.final("job").figures_for(job.gives)
    assert figures.cost == pytest.approx(figures.cpu_s, abs=2e-6)


def test_a_cost_is_told_only_if_every_shard_has_one(world: Any, model: Any) -> None:
    job = world.submit([items(0.25), items(0.25)])
    world.settings = world.settings.model_copy(update={"price_per_cpu_hour": 3600.0})
    world.run(0, service=world.new_service("worker-1"))
    world.settings = world.settings.model_copy(update={"price_per_cpu_hour": None})

    world.run(1, service=world.new_service("worker-2"))

    assert world.outcome(0).figures.cost > 0
    assert world.jobs.final("job").figures_for(job.gives).cost is None


def test_a_shard_without_figures_is_left_out_and_its_job_says_so(world: Any, model: Any) -> None:
    job = world.submit([items(0.25), items(0.25)])
    world.commit(0)
    world.run(0)

    world.run(1)

    assert 1 == world.jobs.final("job").figures_for(job.gives).shards


def test_jobs_of_older_versions_have_none(world: Any) -> None:
    job = world.submit([items(0.25)], schema_version=2)

    world.run()

    assert world.jobs.final("job").figures_for(job.gives) is None


def test_forged_predictions_of_no_such_output_are_left_out(world: Any, model: Any) -> None:
    world.submit([items(0.25), items(0.25), items(0.25)])
    for shard, (was, forged) in enumerate(
        [(b'"kind":{', b'"other":{'), (b'"classes":[0,1]', b'"classes":[9]')]
    ):
        world.run(shard)
        key = JobKeys("job").outcome(shard)
        world.objects.put(key, world.objects.get(key).data.replace(was, forged))

    world.run(2)

    figures = world.jobs.final("job").figures
    assert ({"kind"}, [0, 1]) == (figures.predicted.keys(), figures.predicted["kind"].classes)
    assert 3 == figures.shards
