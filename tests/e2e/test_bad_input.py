"""What a user can do wrong: one line that says what to do, and no trace of the attempt.

`refuses` compares bucket, Redis and folder before and after, to the byte. The last test shows that
the same commands take good input there.
"""

import gzip
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fornada.local.ports import free_port

from ..faults.rig.tiny_disk import tiny_disk

_IMAGES = np.arange(6 * 64, dtype=np.uint8).reshape(6, 8, 8)


# --- the deployment ------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_broker(deployment: Any, folder: Path) -> None:
    deployment.refuses(
        *_submit("good.npy"),
        code=1,
        words=["Redis cannot be reached", "FORNADA_REDIS_URL", "`fornada up`"],
        cwd=folder,
        FORNADA_REDIS_URL=f"redis://127.0.0.1:{free_port()}/0",
    )


def test_no_store_or_bucket(deployment: Any, folder: Path) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    words = [endpoint, "cannot be reached", "FORNADA_S3_ENDPOINT_URL", "`fornada up`"]
    no_bucket = ["no such bucket", "'no-such-bucket'", "`fornada doctor --create-bucket`"]

    for command in (_submit("good.npy"), ["jobs", "list"]):
        deployment.refuses(
            *command, code=1, words=words, cwd=folder, FORNADA_S3_ENDPOINT_URL=endpoint
        )
        deployment.refuses(
            *command, code=2, words=no_bucket, cwd=folder, FORNADA_S3_BUCKET="no-such-bucket"
        )


def test_wrong_password_of_redis(deployment: Any, folder: Path) -> None:
    address = deployment.environ["FORNADA_REDIS_URL"].partition("@")[2]

    line = deployment.refuses(
        *_submit("good.npy"),
        code=1,
        words=["Redis refuses us", "check user and password in FORNADA_REDIS_URL"],
        cwd=folder,
        FORNADA_REDIS_URL=f"redis://:not-the-password@{address}",
    )

    assert "not-the-password" not in line


_WRONG_SETTINGS = [
    ("REDIS_ULR", "redis://h", ["is not a setting", "did you mean FORNADA_REDIS_URL?"]),
    ("ITEMS_PER_SHARD", "many", ["valid integer"]),
    ("S3_ENDPOINT_URL", "127.0.0.1:9000", ["http://"]),
    ("S3_SECRET_ACCESS_KEY", "", ["belong together", "set both or neither"]),
    ("S3_ACCESS_KEY_ID", "wrong", ["does not accept the access key"]),
    ("S3_SECRET_ACCESS_KEY", "wrong", ["does not accept the access key"]),
    ("S3_BUCKET", "No Bucket!", ["'No Bucket!' is not the name of a bucket"]),
]


def test_a_wrong_setting(deployment: Any, folder: Path) -> None:
    for name, value, words in _WRONG_SETTINGS:
        variable = f"FORNADA_{name}"
        deployment.refuses(
            *_submit("good.npy"), code=2, words=[variable, *words], cwd=folder, **{variable: value}
        )


# --- models and jobs ----------------------------------------------------------------------------


_UNKNOWN_MODELS = [
    ("dogs", ["no model 'dogs'", "there are: digits, floats"]),
    ("digits:7", ["no version 7", "it has: 1"]),
    ("digits@staging", ["no alias 'staging'", "it has: prod"]),
    ("digits:one", ["'digits:one' is not a model", "NAME:VERSION or NAME@ALIAS"]),
    ("../digits", ["not a valid name"]),
]


def test_an_unknown_model(deployment: Any, folder: Path) -> None:
    for model, words in _UNKNOWN_MODELS:
        deployment.refuses(*_submit("good.npy", model), code=2, words=words, cwd=folder)


def test_an_unknown_job(deployment: Any) -> None:
    for command in ("show", "watch", "results", "cancel"):
        deployment.refuses(
            *("jobs", command, "no-such-job"),
            code=2,
            words=["no job 'no-such-job'", "`fornada jobs list`"],
        )


def test_results_of_a_job_that_has_not_ended(deployment: Any, queued_job: str) -> None:
    deployment.refuses(
        *("jobs", "results", queued_job),
        code=1,
        words=[f"job {queued_job} has not ended", "wait for it, or ask for `partial` results"],
    )


def test_results_of_a_job_that_was_cancelled(deployment: Any, folder: Path) -> None:
    job_id = deployment.answer(*_submit("good.npy"), cwd=folder)["job_id"]
    assert "CANCELLED" == deployment.answer("jobs", "cancel", job_id)["state"]

    deployment.refuses(
        "jobs", "results", job_id, code=1, words=["ended CANCELLED", "no item has a result"]
    )


def test_the_same_key_for_other_images(deployment: Any, folder: Path) -> None:
    once = [*_submit("good.npy"), "--idempotency-key", "orders-7"]
    assert "orders-7" == deployment.answer(*once, cwd=folder)["job_id"]

    deployment.refuses(
        *_submit("good.png"),
        *("--idempotency-key", "orders-7"),
        code=2,
        words=["job 'orders-7' exists with other images", "use another idempotency key"],
        cwd=folder,
    )

    assert "orders-7" == deployment.answer(*once, cwd=folder)["job_id"]


# --- images -------------------------------------------------------------------------------------


#: One of each kind; the tests of `producer.inputs` have the others.
_BAD_FILES = [
    ("shape.npy", ["items of shape (28, 28)", "(8, 8)", "before you submit"]),
    ("nan.npy", ["item 1: NaN or infinity among its values", "leave out such items"]),
    ("truncated.npy", ["claims 384 bytes", "has 334", "write it again"]),
    ("words.npy", ["no known kind", ".npy, .npz, .safetensors"]),
    ("pickle.npz", ["Python objects, which are never loaded", "plain array"]),
    ("flipped.png", ["broken PNG", "save it again"]),
    ("size.png", ["5x4 pixels", "takes 8x8", "resize before you submit"]),
    ("bomb.idx.gz", ["more data than its shape (6, 8, 8) claims"]),
    ("missing.npy", ["does not exist", "check the path"]),
    ("mixed", ["notes.txt is a text, and others are not", "name it alone"]),
]


def test_a_bad_file(deployment: Any, folder: Path) -> None:
    for name, words in _BAD_FILES:
        model = "floats" if name == "nan.npy" else "digits"
        submit = [*_submit(name, model), "--strict"]
        deployment.refuses(*submit, code=2, words=[name, *words], cwd=folder)


def test_a_bad_file_after_good_ones_submits_nothing(deployment: Any, folder: Path) -> None:
    jobs = deployment.job_ids()
    options = ["--model", "digits", "--items-per-shard", "1"]

    # The good file's objects stay behind; no job's manifest names them.
    done = deployment.run("submit", "good.npy", "dtype.npy", *options, cwd=folder)

    assert 2 == done.returncode
    assert ("", 1) == (done.stdout, done.stderr.count("\n")), done.stderr
    assert done.stderr.startswith("error: dtype.npy: dtype float32")
    assert jobs == deployment.job_ids()


_BAD_PREFIXES = [
    ("s3://{bucket}/inputs/nothing/", ["has no objects", "check bucket and prefix"]),
    ("s3://{bucket}/models/", ["jobs may not read", "FORNADA_INPUT_PREFIXES of producers and"]),
    ("s3://no-such-bucket/x/", ["bucket 'no-such-bucket'", "check the s3:// address"]),
    ("s3://{bucket}/inputs/odd/", ["odd/shape.npy", "items of shape (28, 28)", "resize"]),
]


def test_a_bad_prefix(deployment: Any, folder: Path) -> None:
    deployment.objects.put("inputs/odd/shape.npy", (folder / "shape.npy").read_bytes())

    bucket = deployment.settings.s3_bucket
    allowed = {"FORNADA_INPUT_PREFIXES": f"s3://{bucket}/inputs/,s3://no-such-bucket/"}
    for address, words in _BAD_PREFIXES:
        text = address.format(bucket=bucket)
        deployment.refuses(*_submit(text), code=2, words=words, cwd=folder, **allowed)


# --- disks --------------------------------------------------------------------------------------


def test_results_and_data_sets_to_a_full_disk(
    deployment: Any, queued_job: str, full_disk: Path
) -> None:
    results = ["jobs", "results", queued_job, "--partial", "--format"]
    for arguments in (
        *([*results, fmt] for fmt in ("npy", "parquet", "csv")),
        ["dataset", "digits"],
    ):
        deployment.refuses(
            *arguments,
            *("--output", str(full_disk / "output")),
            code=1,
            words=["cannot be written (No space left on device)", "free space"],
        )
        written = [path for path in full_disk.rglob("*") if path.is_file()]
        assert ["ballast"] == [path.name for path in written]


def test_results_to_where_they_cannot_go(deployment: Any, queued_job: str) -> None:
    for target, code, words in [
        (["--output", "no/such/folder/x"], 1, ["No such file or directory", "--output"]),
        (["--output", "/"], 2, ["/ is a folder", "name a file in it"]),
        ([], 2, ["npy cannot be written to standard output", "--output"]),
    ]:
        arguments = ["jobs", "results", queued_job, "--partial", "--format", "npy", *target]
        deployment.refuses(*arguments, code=code, words=words)


def test_a_worker_whose_folder_cannot_be_written(
    deployment: Any, folder: Path, full_disk: Path
) -> None:
    for cache, fact in (
        (folder / "good.npy" / "cache", "good.npy/cache cannot be made"),
        (full_disk / "cache", "No space left on device"),
    ):
        deployment.refuses(
            "worker", code=1, words=[fact, "FORNADA_CACHE_DIR"], FORNADA_CACHE_DIR=str(cache)
        )


def test_after_all_that_good_input_is_taken(deployment: Any, folder: Path) -> None:
    jobs, models = deployment.job_ids(), deployment.model_names()
    bucket = deployment.settings.s3_bucket
    deployment.objects.put("inputs/good/good.npy", (folder / "good.npy").read_bytes())

    made = [
        deployment.answer(*_submit(text), cwd=folder)
        for text in ["good.npy", "good.idx.gz", "photos", f"s3://{bucket}/inputs/good/"]
    ]

    assert ["digits", "floats"] == models
    assert [6, 6, 2, 6] == [job["items"] for job in made]
    assert {"QUEUED"} == {job["state"] for job in made}
    assert {*jobs, *(job["job_id"] for job in made)} == set(deployment.job_ids())


def _submit(text: str, model: str = "digits") -> list[str]:
    return ["submit", text, "--model", model]


@pytest.fixture(scope="module")
def queued_job(deployment: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A job that no worker takes."""
    path = tmp_path_factory.mktemp("queued") / "images.npy"
    np.save(path, _IMAGES)
    return str(deployment.answer("submit", str(path), "--model", "digits")["job_id"])


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk without free space."""
    with tiny_disk(tmp_path, size_bytes=16 * 1024) as disk:
        disk.fill("ballast")
        yield disk.folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good and bad images of every kind."""
    folder = tmp_path_factory.mktemp("images")
    _write_arrays(folder)
    _write_images(folder)
    _write_idx(folder)
    (folder / "words.npy").write_bytes(b"these are words")
    return folder


def _write_arrays(folder: Path) -> None:
    np.save(folder / "good.npy", _IMAGES)
    np.save(folder / "shape.npy", np.zeros((2, 28, 28), np.uint8))
    np.save(folder / "dtype.npy", np.zeros((2, 8, 8), np.float32))
    images = np.zeros((3, 8, 8), np.float32)
    images[1, 2, 3] = np.nan
    np.save(folder / "nan.npy", images)
    np.savez(folder / "pickle.npz", images=np.array([{}], dtype=object))
    (folder / "truncated.npy").write_bytes((folder / "good.npy").read_bytes()[:-50])


def _write_images(folder: Path) -> None:
    for name in ("photos", "mixed"):
        (folder / name).mkdir()
    Image.fromarray(_IMAGES[0]).save(folder / "good.png")
    good = (folder / "good.png").read_bytes()
    for path in ("photos/a.png", "photos/b.png", "mixed/a.png"):
        (folder / path).write_bytes(good)
    (folder / "mixed" / "notes.txt").write_text("notes")
    flipped = bytearray(good)
    flipped[good.index(b"IDAT") + 8] ^= 0xFF
    (folder / "flipped.png").write_bytes(flipped)
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(folder / "size.png")


def _write_idx(folder: Path) -> None:
    whole = b"\0\0\x08\x03" + struct.pack(">3I", *_IMAGES.shape) + _IMAGES.tobytes()
    (folder / "good.idx.gz").write_bytes(gzip.compress(whole))
    (folder / "bomb.idx.gz").write_bytes(gzip.compress(whole + bytes(100_000_000), 1))
