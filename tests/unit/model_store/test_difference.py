"""Differences between two manifests are reported, and nothing else."""

from typing import Any

from model_store.difference import Difference, differences


def test_a_version_does_not_differ_from_itself(publish: Any) -> None:
    manifest = publish(metrics={"a": 1.0})

    assert [] == differences(manifest, manifest)


def test_the_same_artifact_published_twice_does_not_differ(publish: Any) -> None:
    assert [] == differences(publish(), publish())


def test_differences_of_numbers_have_the_change(publish: Any) -> None:
    # given
    first = publish(metrics={"a": 0.5, "b": 1.0, "gone": 1.0}, packages={"keras": "3.15.1"})
    second = publish(
        artifact=b"other artifact", metrics={"a": 0.75, "b": 1.0}, packages={"keras": "3.16.0"}
    )

    # when
    found = differences(first, second)

    # then
    by_fact = {difference.fact: difference for difference in found}
    assert {
        "metrics.a",
        "metrics.gone",
        "packages.keras",
        "artifact.sha256",
        "artifact.size_bytes",
    } == set(by_fact)
    assert 0.25 == by_fact["metrics.a"].change
    assert Difference(fact="metrics.gone", first=1.0, second=None) == by_fact["metrics.gone"]
    assert by_fact["metrics.gone"].change is None
    assert by_fact["packages.keras"].change is None
    assert 6.0 == by_fact["artifact.size_bytes"].change
