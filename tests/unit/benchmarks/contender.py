"""A contender for the tests; its argument says how it behaves."""

import subprocess
import sys
import time

import numpy as np
from numpy.typing import NDArray

from benchmarks import contract, tables
from benchmarks.contract import Done, Harness, Task


def store(task: Task, reference: NDArray[np.float32]) -> Done:
    """Objects in, objects out."""
    s3, items = contract.s3_client(), 0
    for key in task.keys:
        rows = len(contract.from_npy(contract.get_bytes(s3, key)))
        outputs = contract.to_npy(reference[items : items + rows])
        contract.put_bytes(s3, contract.output_key(task, key), outputs)
        items += rows
    return Done(items=items, finished_at=contract.now())


def score_table(task: Task, reference: NDArray[np.float32]) -> Done:
    """Rows of Parquet in, scored rows out: backwards, and in files of other names."""
    s3, items = contract.s3_client(), 0
    for key in reversed(task.keys):
        keys, inputs = tables.from_table(contract.get_bytes(s3, key))
        first = int(keys[0].removeprefix("C-"))
        assert len(keys) == len(inputs["code0"])
        outputs = reference[first : first + len(keys)]
        data = tables.to_scored(keys[::-1], outputs[::-1])
        contract.put_bytes(s3, f"{task.output_prefix}{items}.parquet", data)
        items += len(keys)
    return Done(items=items, finished_at=contract.now())


def main(how: str) -> None:
    harness = Harness()
    sys.stdout.write("a library's chatter\n")
    sys.stdout.flush()
    if how == "leaves-a-process":
        # In its own session, like a daemon: signals to our process group do not reach it.
        stray = subprocess.Popen(["sleep", "600"], start_new_session=True)
        (harness.folder / "stray.pid").write_text(str(stray.pid))

    def run(task: Task) -> Done:
        if how == "hangs" and len(task.keys) > 1:
            time.sleep(600)
        if how == "fails":
            raise RuntimeError("no luck today")
        reference = np.load(harness.folder / f"{task.workload}-reference.npy")
        if task.workload == "table":
            return score_table(task, reference)
        if how == "stores":
            return store(task, reference)
        outputs = reference[: 5 * len(task.keys)] + (0.5 if how == "is-wrong" else 0.0)
        finished_at = contract.now()
        np.save(task.answers_path, outputs)
        return Done(items=len(outputs), finished_at=finished_at, answers="file")

    harness.serve(run, packages=["numpy"], notes=how)


if __name__ == "__main__":
    main(sys.argv[1])
