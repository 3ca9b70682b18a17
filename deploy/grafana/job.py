"""What went on while a job ran."""

from grafana.panels import Dashboard, Panel, Variable
from grafana.queries import OVER, QUEUE, backlog, high, increase, rate

JOB = Dashboard(
    uid="fornada-job",
    title="Fornada: one job's life",
    about="What went on while a job ran.",
    variables=(
        Variable(name="console", label="Gateway", default="http://127.0.0.1:8080"),
        Variable(name="job", label="Job"),
        QUEUE,
    ),
    span="now-1h",
    panels=(
        Panel(
            title="The job",
            about="",
            kind="text",
            width=24,
            height=4,
            text="Metrics know no job: series would grow with the work. Set the time to that of "
            "the job, from its submission to its end. What other jobs did then is in here too.\n\n"
            "The job itself: [${job} in the console](${console}/jobs/${job}), "
            "or `fornada jobs show ${job}`.",
        ),
        Panel(
            title="Items in this time",
            about="With a result, and failed.",
            kind="stat",
            instant=True,
            width=6,
            height=6,
            queries=increase("fornada_items_total", by="result", over="[$__range]"),
        ),
        Panel(
            title="Shards in this time",
            about="With an outcome, and dead.",
            kind="stat",
            instant=True,
            width=6,
            height=6,
            queries=increase("fornada_shards_total", by="outcome", over="[$__range]"),
        ),
        Panel(
            title="Where the time of a shard went",
            about="What one stage in twenty exceeded, in this time.",
            kind="bargauge",
            unit="s",
            instant=True,
            height=6,
            queries=high("fornada_shard_stage_seconds", by="stage", over="[$__range]"),
        ),
        Panel(
            title="Shards on their way",
            about="Waiting for room in the queue, queued, reserved by a worker, running.",
            stacking="normal",
            queries={f"sum by (state) ({backlog('shards')})": "{{state}}"},
        ),
        Panel(
            title="Shards with an outcome",
            about="Per second.",
            unit="cps",
            stacking="normal",
            queries=rate("fornada_shards_total", by="outcome"),
        ),
        Panel(
            title="Threads by stage",
            about="Seconds spent in each stage per second: how many threads are in it.",
            stacking="normal",
            queries=rate("fornada_shard_stage_seconds_sum", by="stage"),
        ),
        Panel(
            title="Rows predicted",
            about="Rows of items, and rows that only fill calls.",
            unit="cps",
            stacking="normal",
            queries={
                f"sum(rate(fornada_predict_call_rows_sum{OVER}))": "items",
                f"sum(rate(fornada_predict_padding_rows_total{OVER}))": "padding",
            },
        ),
        Panel(
            title="Shards enqueued again",
            about="By the reconciler: lost, or waiting for room.",
            queries=increase("fornada_requeued_total", by="reason"),
        ),
        Panel(
            title="Jobs that ended",
            about="By state.",
            stacking="normal",
            queries=increase("fornada_jobs_ended_total", by="state"),
        ),
    ),
)
