"""What a user can do wrong: one line that says what to do, and no trace of the attempt.

`refuses` compares bucket, Redis and folder before and after, to the byte. The last test shows that
the same commands take good input there.
"""

import gzip
import io
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fornada.local.ports import free_port

_IMAGES = np.arange(6 * 64, dtype=np.uint8).reshape(6, 8, 8)
_COMMANDS = (["submit", "good.npy", "--model", "digits"], ["jobs", "list"], ["models", "list"])


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


def test_no_store(deployment: Any, folder: Path) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"

    for command in _COMMANDS:
        deployment.refuses(
            *command,
            code=1,
            words=[endpoint, "cannot be reached", "FORNADA_S3_ENDPOINT_URL", "`fornada up`"],
            cwd=folder,
            FORNADA_S3_ENDPOINT_URL=endpoint,
        )


def test_wrong_credentials(deployment: Any, folder: Path) -> None:
    for variable in ("FORNADA_S3_ACCESS_KEY_ID", "FORNADA_S3_SECRET_ACCESS_KEY"):
        deployment.refuses(
            *_submit("good.npy"),
            code=2,
            words=["refuses the credentials", variable],
            cwd=folder,
            **{variable: "wrong"},
        )


def test_wrong_password_of_redis(deployment: Any, folder: Path) -> None:
    address = deployment.environ["FORNADA_REDIS_URL"].partition("@")[2]

    line = deployment.refuses(
        *_submit("good.npy"),
        code=1,
        words=["Redis refuses us", "check the password in FORNADA_REDIS_URL"],
        cwd=folder,
        FORNADA_REDIS_URL=f"redis://:not-the-password@{address}",
    )

    assert "not-the-password" not in line


def test_a_missing_bucket(deployment: Any, folder: Path) -> None:
    for command in _COMMANDS:
        deployment.refuses(
            *command,
            code=2,
            words=["bucket 'no-such-bucket' does not exist", "`fornada doctor --create-bucket`"],
            cwd=folder,
            FORNADA_S3_BUCKET="no-such-bucket",
        )


def test_an_invalid_bucket_name(deployment: Any, folder: Path) -> None:
    deployment.refuses(
        *_submit("good.npy"),
        code=2,
        words=["'No Bucket!' is not the name of a bucket", "FORNADA_S3_BUCKET"],
        cwd=folder,
        FORNADA_S3_BUCKET="No Bucket!",
    )


_WRONG_SETTINGS = [
    ("FORNADA_REDIS_ULR", "redis://h", ["is not a setting", "did you mean FORNADA_REDIS_URL?"]),
    ("FORNADA_COLOUR", "red", ["is not a setting", "unset it"]),
    ("FORNADA_ITEMS_PER_SHARD", "many", ["valid integer"]),
    ("FORNADA_ITEMS_PER_SHARD", "0", ["greater than or equal to 1"]),
    ("FORNADA_SHARD_DEADLINE_S", "nan", ["docs/reference"]),
    ("FORNADA_LOG_LEVEL", "loud", ["'DEBUG'"]),
    ("FORNADA_QUEUE", "a b", ["pattern"]),
    ("FORNADA_REDIS_URL", "http://127.0.0.1", ["redis://"]),
    ("FORNADA_REDIS_URL", "redis://h:port/0", ["redis://"]),
    ("FORNADA_S3_ENDPOINT_URL", "127.0.0.1:9000", ["http://"]),
    ("FORNADA_S3_SECRET_ACCESS_KEY", "", ["belong together", "set both or neither"]),
]


def test_a_wrong_setting(deployment: Any, folder: Path) -> None:
    for variable, value, words in _WRONG_SETTINGS:
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
        for arguments in (["models", "show", model], _submit("good.npy", model)):
            deployment.refuses(*arguments, code=2, words=words, cwd=folder)


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
        words=[f"job {queued_job} has not ended", "wait for it, or request partial results"],
    )


def test_results_of_a_job_that_was_cancelled(deployment: Any, folder: Path) -> None:
    job_id = deployment.answer(*_submit("good.npy"), cwd=folder)["job_id"]
    assert "CANCELLED" == deployment.answer("jobs", "cancel", job_id)["state"]

    deployment.refuses(
        "jobs", "results", job_id, code=1, words=["ended CANCELLED", "partial results"]
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


_BAD_FILES = [
    ("shape.npy", ["items of shape (28, 28)", "(8, 8)", "before you submit"]),
    ("dtype.npy", ["dtype float32", "takes uint8", "raw pixels as uint8"]),
    ("empty.npy", ["is empty", "at least one item"]),
    ("truncated.npy", ["claims 384 bytes", "has 334", "write it again"]),
    ("pickle.npy", ["Python objects, which are never loaded", "plain array"]),
    ("huge.npy", ["claims 100000000000 bytes", "has 896", "write it again"]),
    ("words.npy", ["no known kind", ".npy, .npz, IDX"]),
    ("damaged.npz", ["damaged", "write it again"]),
    ("pickle.npz", ["Python objects, which are never loaded", "plain array"]),
    ("broken.png", ["a broken image", "save it again"]),
    ("flipped.png", ["broken PNG", "save it again"]),
    ("size.png", ["5x4 pixels", "takes 8x8", "resize before you submit"]),
    ("bomb.png", ["30000x30000 pixels", "takes 8x8"]),
    ("truncated.idx", ["claims 384 bytes", "has 379", "write it again"]),
    ("truncated.idx.gz", ["damaged gzip", "download or write it again"]),
    ("short.idx.gz", ["claims 384 bytes", "has 379", "write it again"]),
    ("words.idx.gz", ["not an IDX file", "download or write it again"]),
    ("bomb.idx.gz", ["more data than its shape (6, 8, 8) claims"]),
    ("nothing.npy", ["empty file", "write it again"]),
    ("missing.npy", ["does not exist", "check the path"]),
    ("no-*.npy", ["matches no files", "check the pattern"]),
    ("no-images", ["holds no PNG or JPEG files", "check the path"]),
    ("mixed", ["notes.txt is not a PNG or JPEG file", "move it away, or use a glob"]),
    ("photos/broken.png/", ["does not exist", "check the path"]),
]


def test_a_bad_file(deployment: Any, folder: Path) -> None:
    for name, words in _BAD_FILES:
        deployment.refuses(
            *_submit(name), "--strict", code=2, words=[name.rstrip("/"), *words], cwd=folder
        )


def test_a_value_that_is_no_number(deployment: Any, folder: Path) -> None:
    for value in ("nan", "inf"):
        deployment.refuses(
            *_submit(f"{value}.npy", "floats"),
            "--strict",
            code=2,
            words=[f"{value}.npy: item 1 has NaN or infinity", "leave out such items"],
            cwd=folder,
        )


def test_the_same_bad_file_twice(deployment: Any, folder: Path) -> None:
    arguments = ["submit", "truncated.npy", "truncated.npy", "--model", "digits"]
    words = ["truncated.npy claims 384 bytes", "write it again"]

    first = deployment.refuses(*arguments, code=2, words=words, cwd=folder)
    second = deployment.refuses(*arguments, code=2, words=words, cwd=folder)

    assert first == second


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
    ("s3://{bucket}/nothing/", ["has no objects", "check bucket and prefix"]),
    ("s3://no-such-bucket/x/", ["bucket 'no-such-bucket'", "check the s3:// address"]),
    ("s3://No Bucket!/x/", ["'No Bucket!' is not the name", "check the s3:// address"]),
    ("s3://", ["write s3://bucket/prefix"]),
    ("s3://{bucket}/odd/", ["odd/shape.npy", "items of shape (28, 28)", "resize"]),
    ("s3://{bucket}/broken/", ["truncated.npy", "truncated or damaged"]),
    ("s3://{bucket}/models/", ["neither .npy nor PNG nor JPEG", "move it away"]),
]


def test_a_bad_prefix(deployment: Any, folder: Path) -> None:
    for key, name in {
        "odd/shape.npy": "shape.npy",
        "broken/truncated.npy": "truncated.npy",
    }.items():
        deployment.objects.put(key, (folder / name).read_bytes())

    for address, words in _BAD_PREFIXES:
        text = address.format(bucket=deployment.settings.s3_bucket)
        deployment.refuses(*_submit(text), code=2, words=words, cwd=folder)


# --- disks --------------------------------------------------------------------------------------


def test_results_to_a_full_disk(deployment: Any, queued_job: str, full_disk: Path) -> None:
    for fmt in ("npy", "parquet", "csv", "jsonl"):
        deployment.refuses(
            *_results(queued_job, fmt, str(full_disk / "results")),
            code=1,
            words=["cannot be written (No space left on device)", "free space there"],
            cwd=full_disk,
        )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_results_to_a_full_device(deployment: Any, queued_job: str) -> None:
    deployment.refuses(
        *_results(queued_job, "csv", "/dev/full"),
        code=1,
        words=["/dev/full cannot be written (No space left on device)", "free space there"],
    )


def test_results_to_where_they_cannot_go(deployment: Any, queued_job: str) -> None:
    for target, code, words in [
        (["--output", "no/such/folder/x"], 1, ["No such file or directory", "--output"]),
        (["--output", "/"], 2, ["/ is a folder", "name a file in it"]),
        ([], 2, ["npy cannot be written to standard output", "--output"]),
    ]:
        arguments = ["jobs", "results", queued_job, "--partial", "--format", "npy", *target]
        deployment.refuses(*arguments, code=code, words=words)


def test_a_data_set_to_a_full_disk(deployment: Any, full_disk: Path) -> None:
    deployment.refuses(
        *("dataset", "digits", "--output", str(full_disk / "digits")),
        code=1,
        words=["cannot be written (No space left on device)", "free space there"],
    )

    assert [] == [path for path in full_disk.rglob("*") if path.is_file() and "digits" in str(path)]


def test_a_worker_whose_folder_cannot_be_written(deployment: Any, folder: Path) -> None:
    deployment.refuses(
        "worker",
        code=1,
        words=["good.npy/cache cannot be written", "FORNADA_CACHE_DIR"],
        cwd=folder,
        FORNADA_CACHE_DIR=str(folder / "good.npy" / "cache"),
    )


def test_a_worker_on_a_full_disk(deployment: Any, full_disk: Path) -> None:
    deployment.refuses(
        "worker",
        code=1,
        words=["No space left on device", "FORNADA_CACHE_DIR"],
        FORNADA_CACHE_DIR=str(full_disk / "cache"),
    )


def test_after_all_that_good_input_is_taken(deployment: Any, folder: Path) -> None:
    jobs, models = deployment.job_ids(), deployment.model_names()
    bucket = deployment.settings.s3_bucket
    deployment.objects.put("good/good.npy", (folder / "good.npy").read_bytes())

    made = [
        deployment.answer(*_submit(text), cwd=folder)
        for text in ["good.npy", "good.idx.gz", "good.png", "photos", f"s3://{bucket}/good/"]
    ]

    assert ["digits", "floats"] == models
    assert [6, 6, 1, 2, 6] == [job["items"] for job in made]
    assert {"QUEUED"} == {job["state"] for job in made}
    assert {*jobs, *(job["job_id"] for job in made)} == set(deployment.job_ids())


def _submit(text: str, model: str = "digits") -> list[str]:
    return ["submit", text, "--model", model]


def _results(job_id: str, fmt: str, output: str) -> list[str]:
    return ["jobs", "results", job_id, "--partial", "--format", fmt, "--output", output]


@pytest.fixture(scope="module")
def queued_job(deployment: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A job that no worker takes."""
    path = tmp_path_factory.mktemp("queued") / "images.npy"
    np.save(path, _IMAGES)
    return str(deployment.answer("submit", str(path), "--model", "digits")["job_id"])


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk without free space."""
    path = tmp_path / "full"
    path.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=16k", "tmpfs", str(path)]
    if (
        mount is None
        or os.geteuid() != 0
        or subprocess.run([mount, *options], check=False).returncode
    ):
        pytest.skip("only root can make a small disk, and not everywhere")
    with (path / "ballast").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
    yield path
    subprocess.run(["umount", str(path)], check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good and bad images of every kind."""
    folder = tmp_path_factory.mktemp("images")
    _write_arrays(folder)
    _write_images(folder)
    _write_idx(folder)
    (folder / "words.npy").write_bytes(b"these are words")
    (folder / "nothing.npy").write_bytes(b"")
    return folder


def _write_arrays(folder: Path) -> None:
    np.save(folder / "good.npy", _IMAGES)
    np.save(folder / "shape.npy", np.zeros((2, 28, 28), np.uint8))
    np.save(folder / "dtype.npy", np.zeros((2, 8, 8), np.float32))
    np.save(folder / "empty.npy", np.zeros((0, 8, 8), np.uint8))
    np.save(folder / "pickle.npy", np.array([{}], dtype=object), allow_pickle=True)
    for value in ("nan", "inf"):
        images = np.zeros((3, 8, 8), np.float32)
        images[1, 2, 3] = float(value)
        np.save(folder / f"{value}.npy", images)
    np.savez(folder / "pickle.npz", images=np.array([{}], dtype=object))
    np.savez(folder / "damaged.npz", images=_IMAGES)
    whole = (folder / "damaged.npz").read_bytes()
    (folder / "damaged.npz").write_bytes(whole[:-30])
    (folder / "truncated.npy").write_bytes((folder / "good.npy").read_bytes()[:-50])
    header = io.BytesIO()
    shape = (10**11 // 64, 8, 8)
    claims = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, claims)
    (folder / "huge.npy").write_bytes(header.getvalue().ljust(1024, b"\0"))


def _write_images(folder: Path) -> None:
    for name in ("photos", "no-images", "mixed"):
        (folder / name).mkdir()
    Image.fromarray(_IMAGES[0]).save(folder / "good.png")
    good = (folder / "good.png").read_bytes()
    for path in ("photos/a.png", "photos/b.png", "mixed/a.png"):
        (folder / path).write_bytes(good)
    (folder / "mixed" / "notes.txt").write_text("notes")
    (folder / "broken.png").write_bytes(good[:-20])
    flipped = bytearray(good)
    flipped[good.index(b"IDAT") + 8] ^= 0xFF
    (folder / "flipped.png").write_bytes(flipped)
    Image.fromarray(np.zeros((4, 5), np.uint8)).save(folder / "size.png")
    Image.new("1", (30_000, 30_000)).save(folder / "bomb.png")


def _write_idx(folder: Path) -> None:
    whole = b"\0\0\x08\x03" + struct.pack(">3I", *_IMAGES.shape) + _IMAGES.tobytes()
    (folder / "truncated.idx").write_bytes(whole[:-5])
    (folder / "good.idx.gz").write_bytes(gzip.compress(whole))
    (folder / "truncated.idx.gz").write_bytes(gzip.compress(whole)[:-30])
    (folder / "short.idx.gz").write_bytes(gzip.compress(whole[:-5]))
    (folder / "words.idx.gz").write_bytes(gzip.compress(b"these are words"))
    (folder / "bomb.idx.gz").write_bytes(gzip.compress(whole + bytes(100_000_000), 1))
