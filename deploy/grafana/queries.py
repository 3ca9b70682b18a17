"""Queries and variables that several dashboards have."""

from grafana.panels import Variable

QUEUE = Variable(
    name="queue", label="Queue", query="label_values(fornada_reconciler_leader, queue)"
)
OVER = "[$__rate_interval]"
#: Of the queues that are chosen: each process that hosts a reconciler, 1 for the leader.
LEADS = 'fornada_reconciler_leader{queue=~"$queue"}'


def backlog(what: str, *, states: str = ".*") -> str:
    """The backlog in shards or items, by queue and state.

    The leader alone counts it; for a moment two may lead.
    """
    chosen = f'queue=~"$queue", state=~"{states}"'
    return f"max by (queue, state) (fornada_backlog_{what}{{{chosen}}})"


def rate(series: str, *, by: str) -> dict[str, str]:
    """A query of what happens in a second, by a label."""
    return {f"sum by ({by}) (rate({series}{OVER}))": f"{{{{{by}}}}}"}


def increase(series: str, *, by: str, over: str = OVER) -> dict[str, str]:
    """A query of what happened in a time, by a label."""
    return {f"sum by ({by}) (increase({series}{over}))": f"{{{{{by}}}}}"}


def high(series: str, *, by: str, over: str = OVER) -> dict[str, str]:
    """A query of what one observation in twenty exceeds, by a label."""
    return {_quantile(0.95, series, by=by, over=over): f"{{{{{by}}}}}"}


def middle_and_high(series: str, *, by: str) -> dict[str, str]:
    """Queries of the median, and of what one observation in twenty exceeds, by a label."""
    return {
        _quantile(share, series, by=by, over=OVER): f"{{{{{by}}}}} {name}"
        for share, name in ((0.5, "median"), (0.95, "95 %"))
    }


def _quantile(share: float, series: str, *, by: str, over: str) -> str:
    rates = f"sum by (le, {by}) (rate({series}_bucket{over}))"
    # The comparison leaves out what is no number: nothing was observed.
    return f"histogram_quantile({share}, {rates}) >= 0"
