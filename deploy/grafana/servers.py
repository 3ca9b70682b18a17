"""What is asked of the store and of Redis, and what they answer."""

from grafana.panels import Dashboard, Panel
from grafana.queries import LEADS, OVER, QUEUE, backlog, increase, middle_and_high, rate

_ERROR = '{code!~"ok|ObjectNotFoundError"}'

SERVERS = Dashboard(
    uid="fornada-servers",
    title="Fornada: store and broker",
    about="What workers and gateways ask of the store and of Redis, and what they get.",
    variables=(QUEUE,),
    panels=(
        Panel(
            title="Requests to the store",
            about="By method.",
            unit="reqps",
            stacking="normal",
            queries=rate("fornada_store_requests_total", by="op"),
        ),
        Panel(
            title="Errors of the store",
            about="By method and class. What is looked for and not there is no error.",
            unit="reqps",
            queries={
                f"sum by (op, code) (rate(fornada_store_requests_total{_ERROR}{OVER}))": (
                    "{{op}} {{code}}"
                )
            },
        ),
        Panel(
            title="Share of errors",
            about="By method; above 5 % there is an alert.",
            unit="percentunit",
            queries={
                f"sum by (op) (rate(fornada_store_requests_total{_ERROR}{OVER}))"
                f" / sum by (op) (rate(fornada_store_requests_total{OVER}))": "{{op}}"
            },
        ),
        Panel(
            title="Time of the store's answers",
            about="By method, tries again included.",
            unit="s",
            queries=middle_and_high("fornada_store_request_seconds", by="op"),
        ),
        Panel(
            title="Time to fetch, put and commit a shard",
            about="What one shard in twenty exceeds.",
            unit="s",
            queries={
                "histogram_quantile(0.95, sum by (le, stage) (rate("
                f'fornada_shard_stage_seconds_bucket{{stage=~"fetch|put|commit"}}{OVER})))': (
                    "{{stage}}"
                )
            },
        ),
        Panel(
            title="The queue",
            about="Shards in the queue, and those that wait for room in it. Redis itself is "
            "measured by an exporter of its own.",
            queries={backlog("shards", states="queued|waiting"): "{{queue}} {{state}}"},
            stacking="normal",
        ),
        Panel(
            title="Shards enqueued again",
            about="Lost, with a worker or in Redis; or waiting for room in the queue.",
            queries=increase("fornada_requeued_total", by="reason"),
            width=8,
        ),
        Panel(
            title="Leaders",
            about="Processes that lead a queue. After a failover of Redis it moves once.",
            queries={f"sum by (queue) ({LEADS})": "{{queue}}"},
            width=8,
        ),
        Panel(
            title="Quarantine",
            about="What lay on the queue and is no message.",
            queries=increase("fornada_quarantined_messages_total", by="reason"),
            width=8,
        ),
    ),
)
