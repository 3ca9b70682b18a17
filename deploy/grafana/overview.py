"""Whether work is done, how much is left, and who does it."""

from grafana.panels import Dashboard, Panel
from grafana.queries import LEADS, OVER, QUEUE, backlog, high, increase, rate

OVERVIEW = Dashboard(
    uid="fornada-overview",
    title="Fornada: overview",
    about="Whether work is done, how much is left, and who does it.",
    variables=(QUEUE,),
    panels=(
        Panel(
            title="Unfinished shards",
            about="Of all open jobs, by queue.",
            kind="stat",
            width=5,
            height=5,
            queries={f"sum by (queue) ({backlog('shards')})": "{{queue}}"},
        ),
        Panel(
            title="Oldest unfinished job",
            about="Since its submission. A job has 7 days, unless it was given a deadline.",
            kind="stat",
            unit="s",
            width=5,
            height=5,
            limits=(86_400, 302_400),
            queries={
                'max by (queue) (fornada_backlog_oldest_seconds{queue=~"$queue"})': "{{queue}}"
            },
        ),
        Panel(
            title="Workers",
            about="Supervisors that are scraped, by queue. A queue without work may have none.",
            kind="stat",
            width=5,
            height=5,
            queries={
                f"count by (queue) ({LEADS} and on (job, instance) "
                "fornada_last_progress_timestamp_seconds)": "{{queue}}"
            },
        ),
        Panel(
            title="Leaders",
            about="Processes that lead a queue: one, or nobody brings lost shards back.",
            kind="stat",
            width=4,
            height=5,
            queries={f"sum by (queue) ({LEADS})": "{{queue}}"},
        ),
        Panel(
            title="Since the last progress",
            about="Since a worker committed a shard or answered a call.",
            kind="stat",
            unit="s",
            width=5,
            height=5,
            queries={"time() - max(fornada_last_progress_timestamp_seconds)": "any queue"},
        ),
        Panel(
            title="Items per second",
            about="Items of committed shards, with and without a result.",
            unit="cps",
            stacking="normal",
            queries=rate("fornada_items_total", by="result"),
        ),
        Panel(
            title="Unfinished items",
            about="Waiting for room in the queue, queued, reserved by a worker, running.",
            stacking="normal",
            queries={f"sum by (state) ({backlog('items')})": "{{state}}"},
        ),
        Panel(
            title="Jobs that ended",
            about="By state.",
            queries=increase("fornada_jobs_ended_total", by="state"),
            stacking="normal",
            width=8,
        ),
        Panel(
            title="Open jobs",
            about="By queue.",
            queries={'max by (queue) (fornada_jobs_open{queue=~"$queue"})': "{{queue}}"},
            width=8,
        ),
        Panel(
            title="Dead shards, processes replaced",
            about="Shards without attempts left, and worker processes that ended, by reason.",
            queries={
                f'sum(increase(fornada_shards_total{{outcome="dead"}}{OVER}))': "dead shards",
                f"sum by (reason) (increase(fornada_worker_restarts_total{OVER}))": (
                    "process: {{reason}}"
                ),
            },
            width=8,
        ),
        Panel(
            title="Requests to the gateway",
            about="Answers by status.",
            unit="reqps",
            stacking="normal",
            queries=rate("fornada_gateway_requests_total", by="code"),
            width=8,
        ),
        Panel(
            title="Time of the gateway's answers",
            about="What one request in twenty exceeds, by route.",
            unit="s",
            queries=high("fornada_gateway_request_seconds", by="route"),
            width=8,
        ),
        Panel(
            title="Webhooks",
            about="Calls by what came of them.",
            queries=increase("fornada_webhook_deliveries_total", by="result"),
            width=8,
        ),
        Panel(
            title="Alerts that fire",
            about="From deploy/prometheus/rules.yml; docs/operations/alerts.md says what to do.",
            kind="table",
            instant=True,
            width=24,
            height=6,
            queries={'ALERTS{alertname=~"Fornada.*", alertstate="firing"}': ""},
        ),
    ),
)
