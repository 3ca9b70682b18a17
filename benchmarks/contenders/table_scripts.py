"""What people write to score a Parquet table in a store: pyarrow and `model.predict`, and Ray Data.

`table_scripts.py plain|ray MODEL PREFIX`, with the store in `BENCH_S3_…`; prints one line of JSON.
"""

import io
import json
import os
import resource
import sys
import tempfile
import time
from typing import Any

import boto3
import keras
import numpy as np
import pyarrow as pa
from pyarrow import parquet

_COLUMNS = [f"f{number:02}" for number in range(30)]
_BATCH_ROWS = 8192
_BUCKET = "tables"


def plain(model_path: str, prefix: str) -> int:
    """Object by object: downloaded, predicted, and written to one Parquet file in the store."""
    model, store = keras.saving.load_model(model_path, compile=False), _boto3()
    listed = store.list_objects_v2(Bucket=_BUCKET, Prefix=prefix)["Contents"]
    schema = pa.schema([("key", pa.string()), ("score", pa.float32())])
    row_count = 0
    with tempfile.NamedTemporaryFile(suffix=".parquet") as file:
        with parquet.ParquetWriter(file.name, schema) as writer:
            for found in listed:
                data = store.get_object(Bucket=_BUCKET, Key=found["Key"])["Body"].read()
                table = parquet.read_table(io.BytesIO(data))
                rows = np.column_stack([table[name].to_numpy() for name in _COLUMNS])
                scores = model.predict(rows, batch_size=_BATCH_ROWS, verbose=0)[:, 0]
                writer.write_table(pa.table([table["key"], scores], schema=schema))
                row_count += len(rows)
        store.upload_file(file.name, _BUCKET, "scored/plain.parquet")
    return row_count


class Scorer:
    """The actor that holds the model."""

    def __init__(self, model_path: str) -> None:
        self._model = keras.saving.load_model(model_path, compile=False)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Columns → keys and scores."""
        rows = np.column_stack([batch[name] for name in _COLUMNS])
        return {"key": batch["key"], "score": self._model.predict_on_batch(rows)[:, 0]}


def by_ray(model_path: str, prefix: str) -> int:
    """A data set from Parquet to Parquet in the store, with one actor that predicts."""
    import ray  # noqa: PLC0415 - not in the environment of the plain script
    from pyarrow.fs import S3FileSystem  # noqa: PLC0415 - as above

    store = S3FileSystem(
        access_key=os.environ["BENCH_S3_ACCESS_KEY_ID"],
        secret_key=os.environ["BENCH_S3_SECRET_ACCESS_KEY"],
        endpoint_override=os.environ["BENCH_S3_ENDPOINT_URL"],
        region="us-east-1",
    )
    ray.data.DataContext.get_current().enable_progress_bars = False
    ray.data.read_parquet(f"{_BUCKET}/{prefix}", filesystem=store).map_batches(
        Scorer, fn_constructor_args=[model_path], batch_size=_BATCH_ROWS, concurrency=1, num_cpus=1
    ).write_parquet(f"{_BUCKET}/scored/ray", filesystem=store, try_create_dir=False)
    written = ray.data.read_parquet(f"{_BUCKET}/scored/ray", filesystem=store)
    return int(written.count())


def _boto3() -> Any:
    return boto3.client(
        "s3",
        endpoint_url=os.environ["BENCH_S3_ENDPOINT_URL"],
        aws_access_key_id=os.environ["BENCH_S3_ACCESS_KEY_ID"],
        aws_secret_access_key=os.environ["BENCH_S3_SECRET_ACCESS_KEY"],
        region_name="us-east-1",
    )


def main() -> None:
    """Run one of them; what was started before it is not measured."""
    kind, model_path, prefix = sys.argv[1:]
    if kind == "ray":
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        # The S3 server takes no body of unknown length, as one with a checksum behind it is.
        os.environ["AWS_REQUEST_CHECKSUM_CALCULATION"] = "when_required"
        # A busy machine takes longer to start it.
        os.environ["RAY_raylet_start_wait_time_s"] = "300"  # noqa: SIM112 - Ray's
        import ray  # noqa: PLC0415 - reads them, and is not in the environment of the plain script

        ray.init(
            num_cpus=os.cpu_count(),
            include_dashboard=False,
            object_store_memory=2**30,
            log_to_driver=False,
            _node_ip_address="127.0.0.1",
        )
    began_s = time.monotonic()
    row_count = (by_ray if kind == "ray" else plain)(model_path, prefix)
    took_s = time.monotonic() - began_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({"rows": row_count, "took_s": took_s, "peak_mb": peak_mb}), flush=True)
    # Whatever a library left running ends with this process.
    os._exit(0)


if __name__ == "__main__":
    main()
