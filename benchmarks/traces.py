"""What traces cost a worker: CPU seconds of a shard's spans, made and sent.

python -m benchmarks.traces

A shard here is what spans see of it: a message, five stages, its end. The collector is another
process that reads what it gets.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from fornada.events import Events, ShardFinished, Stage, StageEnded
from fornada.queue.message import ShardMessage
from fornada.records import ModelPin
from fornada.settings import Settings
from fornada.tracing.export import export_traces
from fornada.tracing.opening import open_traces
from worker.shards.phases import ShardResult
from worker.shards.spans import ShardSpans

_TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
_PIN = ModelPin(name="m", version=1, sha256="0" * 64)
_SHARDS = 5000
_REPEATS = 5
#: Variant -> what it sets.
_VARIANTS: Mapping[str, Mapping[str, str]] = {
    "off": {},
    "on, all kept": {"FORNADA_TRACES": "true"},
    "on, 1 in 100 kept": {
        "FORNADA_TRACES": "true",
        "OTEL_TRACES_SAMPLER": "traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": "0.01",
    },
}
_COLLECTOR = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()
    def log_message(self, *_): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def main() -> None:
    """Measure each variant in a process of its own, several times in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--one", action="store_true", help="measure this process's variant")
    if parser.parse_args().one:
        print(measured_us())
        return
    with subprocess.Popen([sys.executable, "-c", _COLLECTOR], stdout=subprocess.PIPE) as collector:
        assert collector.stdout is not None
        endpoint = f"http://127.0.0.1:{int(collector.stdout.readline())}"
        found: dict[str, list[float]] = {variant: [] for variant in _VARIANTS}
        for _ in range(_REPEATS):
            for variant, given in _VARIANTS.items():
                environ = {**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, **given}
                command = [sys.executable, "-m", "benchmarks.traces", "--one"]
                done = subprocess.run(command, env=environ, capture_output=True, check=True)
                found[variant].append(float(done.stdout))
        collector.terminate()
    for variant, each_us in found.items():
        print(f"{variant:20} {min(each_us):8.1f} us of CPU a shard, at most {max(each_us):.1f}")


def measured_us() -> float:
    """Microseconds of CPU that a shard takes, with the threads that send its spans."""
    settings = Settings.from_env(os.environ)
    end_traces = export_traces(settings, service="benchmark")
    spans = ShardSpans(open_traces(settings), queue="fornada")
    events = Events(spans.hear) if settings.traces else Events()

    def run(messages: Sequence[ShardMessage]) -> list[ShardResult]:
        for message in messages:
            _happen(events, message)
        return [ShardResult.OK] * len(messages)

    def untraced(messages: Sequence[ShardMessage], _traceparent: str | None) -> object:
        return run(messages)

    traced: Callable[[Sequence[ShardMessage], str | None], object] = (
        spans.around(run) if settings.traces else untraced
    )
    began_s = time.process_time()
    for number in range(_SHARDS):
        traced([ShardMessage(job_id="job", shard=number)], _TRACEPARENT)
        # As shards come: the queue of the SDK does not overflow.
        if settings.traces and not number % 50:
            time.sleep(0.05)
    end_traces()
    return (time.process_time() - began_s) / _SHARDS * 1e6


def _happen(events: Events, message: ShardMessage) -> None:
    for stage in Stage:
        events.tell(StageEnded(stage=stage, duration_s=0.001, shard_count=1, item_count=4096))
    events.tell(
        ShardFinished(
            job_id=message.job_id,
            shard=message.shard,
            attempt="0" * 32,
            model=_PIN,
            status="ok",
            item_count=4096,
            failed_count=0,
            predict_s=0.1,
            ends_job=False,
        )
    )


if __name__ == "__main__":
    main()
