"""A run as one JSON object: figures, machine, versions."""

import datetime as dt
import importlib.metadata
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmarks.measuring.measurement import Measured
from benchmarks.measuring.rounds import medians
from benchmarks.registry import Contender
from benchmarks.reporting import targets

_SCHEMA_VERSION = 1


def record_of(
    contenders: Sequence[Contender],
    found: Mapping[str, Sequence[Measured]],
    *,
    failed: Mapping[str, str],
    left_out: Mapping[str, str],
    engines: Sequence[str],
    about: Mapping[str, Any],
) -> dict[str, Any]:
    """The record of a run.

    Args:
        contenders: All contenders of the run.
        found: Figures by contender, a round each.
        failed: Reasons of the contenders that failed.
        left_out: Reasons of the contenders that could not run.
        engines: The engines with targets.
        about: Machine, sizes, versions of the servers and so on.
    """
    done = {c.name: medians(found[c.name]) for c in contenders if found.get(c.name)}
    return {
        "schema_version": _SCHEMA_VERSION,
        "date": f"{dt.datetime.now(dt.UTC):%Y-%m-%dT%H:%MZ}",
        "fornada": importlib.metadata.version("fornada"),
        **about,
        "contenders": {
            c.name: _entry(c, found[c.name], done[c.name]) for c in contenders if c.name in done
        },
        "targets": {
            engine: [asdict(targets.judged(target, done)) for target in targets.targets_of(engine)]
            for engine in engines
        },
        "failed": dict(failed),
        "left_out": dict(left_out),
    }


def _entry(
    contender: Contender, measured: Sequence[Measured], middle: Mapping[str, Any]
) -> dict[str, Any]:
    differences = {
        workload: max(
            (one.workloads[workload]["max_abs_diff"] for one in measured), key=lambda d: d or 0.0
        )
        for workload in measured[0].workloads
    }
    return {
        "label": contender.label,
        "kind": contender.kind,
        "notes": measured[0].notes,
        "versions": measured[0].versions,
        "medians": middle,
        "max_abs_diff": differences,
        "rounds": [
            {
                "cold_start_s": one.cold_start_s,
                "rss_mib": one.rss_mib,
                "service_rss_mib": one.service_rss_mib,
                "workloads": one.workloads,
            }
            for one in measured
        ],
    }
