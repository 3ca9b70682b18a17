"""What every object store must do, in memory, on rclone and on moto."""

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from fornada import keys
from fornada.errors import (
    BucketNotFoundError,
    ConfigError,
    ObjectNotFoundError,
    StoreAccessError,
    StoreRefusedError,
    StoreUnavailableError,
)
from fornada.local.ports import free_port
from fornada.records import sha256_hex
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.memory import InMemoryObjectStore
from fornada.storage.s3.limits import Limits
from fornada.storage.s3.store import S3ObjectStore

_RACERS = 8


def test_the_store_tells_the_time(object_store: ObjectStore) -> None:
    assert abs(datetime.now(UTC) - object_store.server_time()) < timedelta(minutes=1)


def test_an_empty_object_is_an_object(object_store: ObjectStore) -> None:
    object_store.put("jobs/j/empty", b"")

    assert b"" == object_store.get("jobs/j/empty").data
    assert [0] == [info.size_bytes for info in object_store.list("jobs/j/")]


def test_max_bytes_reads_no_more_than_the_beginning(object_store: ObjectStore) -> None:
    object_store.put("big", b"0123456789" * 100_000)
    object_store.put("short", b"0123")
    object_store.put("empty", b"")

    assert b"0123" == object_store.get("big", max_bytes=4).data
    assert b"0123" == object_store.get("short", max_bytes=5).data
    assert b"" == object_store.get("empty", max_bytes=1).data


def test_a_range_is_read_with_the_etag_of_the_object(object_store: ObjectStore) -> None:
    data = bytes(range(256)) * 1000
    for key in ("ranged", "a key+that%needs/escapes"):
        object_store.put(key, data)
        etag = object_store.get(key, max_bytes=1).etag

        for first_byte, size_bytes in ((0, 5), (255, 70_000), (len(data) - 3, 3)):
            found = object_store.get_range(key, first_byte=first_byte, size_bytes=size_bytes)
            assert data[first_byte : first_byte + size_bytes] == found.data
            assert etag == found.etag
        # fewer at its end, and none beyond
        assert data[-3:] == object_store.get_range(key, first_byte=len(data) - 3, size_bytes=9).data
        for first_byte, size_bytes in ((len(data), 4), (10**9, 4), (3, 0)):
            assert (
                b""
                == object_store.get_range(key, first_byte=first_byte, size_bytes=size_bytes).data
            )
    with pytest.raises(ObjectNotFoundError):
        object_store.get_range("missing", first_byte=1, size_bytes=1)


def test_a_file_is_put_and_downloaded_in_pieces_with_its_digest(
    object_store: ObjectStore, tmp_path: Path
) -> None:
    # given a file of more than one part
    data, given, found = os.urandom(1024 * 1024) * 65, tmp_path / "given", tmp_path / "found"
    given.write_bytes(data)

    object_store.put("k", given)

    whole = object_store.download("k", found)
    assert (data, sha256_hex(data)) == (found.read_bytes(), whole.sha256)
    assert (len(data), object_store.get("k", max_bytes=1).etag) == (whole.size_bytes, whole.etag)
    # and its beginning replaces what the file held
    begun = object_store.download("k", found, max_bytes=3)
    assert (data[:3], 3) == (found.read_bytes(), begun.size_bytes)
    with pytest.raises(ObjectNotFoundError):
        object_store.download("none", found)


def test_put_replaces_and_the_etag_tells(object_store: ObjectStore) -> None:
    object_store.put("k", b"old")
    before = object_store.get("k").etag

    object_store.put("k", b"new")

    assert b"new" == object_store.get("k").data
    assert before != object_store.get("k").etag


def test_a_listing_tells_when_an_object_was_put_and_its_etag(object_store: ObjectStore) -> None:
    object_store.put("k", b"1")

    (listed,) = object_store.list("k")

    assert abs(datetime.now(UTC) - listed.modified_at) < timedelta(minutes=1)
    assert object_store.get("k").etag == listed.etag


def test_listing_has_all_below_the_prefix_in_key_order(object_store: ObjectStore) -> None:
    for key in ("jobs/b/1", "jobs/a/2", "jobs/a/10", "models/a/1"):
        object_store.put(key, key.encode())

    listed = [(info.key, info.size_bytes) for info in object_store.list("jobs/")]

    assert [("jobs/a/10", 9), ("jobs/a/2", 8), ("jobs/b/1", 8)] == listed


@pytest.mark.parametrize(
    "object_store", ["rclone", pytest.param("moto", marks=pytest.mark.slow)], indirect=True
)
def test_listing_goes_on_past_one_page(object_store: ObjectStore) -> None:
    keys = [f"jobs/j/outcome/{number:08d}.json" for number in range(1005)]
    with ThreadPoolExecutor(_RACERS) as pool:
        list(pool.map(lambda key: object_store.put(key, b"{}"), keys))

    listed = [info.key for info in object_store.list("jobs/j/outcome/")]

    assert keys == listed


def test_folders_are_the_names_directly_below_and_go_with_their_last_object(
    object_store: ObjectStore,
) -> None:
    assert [] == list(object_store.list_folders("jobs/"))
    for key in ("jobs/a/manifest.json", "jobs/b/input/0.npy", "jobs/loose", "models/m/1/x"):
        object_store.put(key, b"1")

    assert ["a", "b"] == list(object_store.list_folders("jobs/"))

    object_store.delete("jobs/b/input/0.npy")
    assert ["a"] == list(object_store.list_folders("jobs/"))


def test_deleted_objects_are_gone_and_a_second_delete_is_no_error(
    object_store: ObjectStore,
) -> None:
    object_store.put("jobs/j/k", b"1")

    object_store.delete("jobs/j/k")
    object_store.delete("jobs/j/k")

    assert [] == list(object_store.list("jobs/"))
    with pytest.raises(ObjectNotFoundError):
        object_store.get("jobs/j/k")


def test_put_if_absent_writes_once_and_keeps_the_first(object_store: ObjectStore) -> None:
    assert object_store.put_if_absent("claim", b"first")
    assert not object_store.put_if_absent("claim", b"second")

    assert b"first" == object_store.get("claim").data


def test_put_if_absent_of_the_same_bytes_says_they_are_there(object_store: ObjectStore) -> None:
    object_store.put_if_absent("claim", b"mine")

    assert object_store.put_if_absent("claim", b"mine")


@pytest.mark.parametrize("fixture", ["memory_objects", "moto_objects"])
def test_of_many_racers_one_wins(fixture: str, request: pytest.FixtureRequest) -> None:
    store: ObjectStore = request.getfixturevalue(fixture)

    with ThreadPoolExecutor(_RACERS) as pool:
        won = list(
            pool.map(lambda racer: store.put_if_absent("claim", b"%d" % racer), range(_RACERS))
        )

    assert 1 == sum(won)
    assert b"%d" % won.index(True) == store.get("claim").data


def test_boto3_alone_sends_the_condition_too(moto_settings: Settings) -> None:
    # given a store without the fast client, like AWS
    store = S3ObjectStore.from_settings(moto_settings)
    store._wire = None

    assert store.conditional_writes
    assert [True, False] == [store.put_if_absent("boto3/k", data) for data in (b"1", b"2")]


def test_stores_tell_whether_they_honour_conditions(
    memory_objects: InMemoryObjectStore,
    moto_objects: S3ObjectStore,
    rclone_objects: S3ObjectStore,
) -> None:
    assert memory_objects.conditional_writes
    assert moto_objects.conditional_writes
    assert not rclone_objects.conditional_writes
    # The probes leave nothing behind but what they found, which spares others a probe.
    for store in (moto_objects, rclone_objects):
        (kept,) = store.list("")
        assert keys.conditions(store.endpoint) == kept.key


def test_another_client_sees_a_put_and_a_delete_at_once(settings: Settings) -> None:
    one = S3ObjectStore.from_settings(settings)
    other = S3ObjectStore.from_settings(settings)

    for number in range(20):
        key = f"jobs/j/outcome/{number}.json"
        one.put(key, b"1")
        after_put = [info.key for info in other.list("jobs/j/")]
        one.delete(key)
        after_delete = [info.key for info in other.list("jobs/j/")]

        assert [key] == after_put
        assert [] == after_delete


def test_many_threads_get_what_they_put(object_store: ObjectStore) -> None:
    def put_get_delete(number: int) -> bool:
        data = number.to_bytes(4, "big") * (64 * 1024 // 4)
        object_store.put(f"jobs/j/data/{number}.npy", data)
        same = data == object_store.get(f"jobs/j/data/{number}.npy").data
        object_store.delete(f"jobs/j/data/{number}.npy")
        return same

    with ThreadPoolExecutor(_RACERS) as pool:
        same = list(pool.map(put_get_delete, range(40)))

    assert [True] * 40 == same
    assert [] == list(object_store.list(""))


def test_objects_of_another_bucket_are_read_by_name(settings: Settings) -> None:
    other = settings.model_copy(update={"s3_bucket": f"{settings.s3_bucket}-2"})
    theirs = S3ObjectStore.from_settings(other)
    theirs.create_bucket()
    theirs.put("images/0.png", b"png")
    ours = S3ObjectStore.from_settings(settings)

    read = ours.get("images/0.png", bucket=other.s3_bucket)
    listed = [info.key for info in ours.list("images/", bucket=other.s3_bucket)]

    assert b"png" == read.data
    assert ["images/0.png"] == listed


def test_creating_a_bucket_twice_is_no_error(object_store: ObjectStore) -> None:
    object_store.put("k", b"1")

    object_store.create_bucket()

    assert b"1" == object_store.get("k").data


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-3"])
def test_a_bucket_is_created_in_the_region_of_the_settings(
    moto_settings: Settings, region: str
) -> None:
    there = {"s3_region": region, "s3_bucket": f"made-in-{region}"}
    store = S3ObjectStore.from_settings(moto_settings.model_copy(update=there))
    for _ in range(2):
        store.create_bucket()

    found = store._client.get_bucket_location(Bucket=store.bucket)["LocationConstraint"]
    assert region == (found or "us-east-1")


def test_wrong_credentials_are_refused(settings: Settings) -> None:
    for wrong in (
        {"s3_secret_access_key": SecretStr("wrong-secret")},
        {"s3_access_key_id": "AKIAWRONGWRONG"},
    ):
        store = S3ObjectStore.from_settings(settings.model_copy(update=wrong))

        with pytest.raises(StoreAccessError, match="FORNADA_S3_SECRET_ACCESS_KEY"):
            store.get("k")
        with pytest.raises(StoreAccessError):
            store.put("k", b"1")
        with pytest.raises(StoreAccessError):
            list(store.list(""))


def test_a_missing_bucket_is_named(settings: Settings, moto_settings: Settings) -> None:
    for each in (settings, moto_settings):
        store = S3ObjectStore.from_settings(each.model_copy(update={"s3_bucket": "nowhere"}))

        with pytest.raises(BucketNotFoundError, match="'nowhere'"):
            store.put("k", b"1")
        with pytest.raises(BucketNotFoundError, match="'nowhere'"):
            list(store.list(""))
        with pytest.raises(BucketNotFoundError, match="'nowhere'"):
            store.get("k")


@pytest.mark.slow
def test_the_object_of_a_console_that_is_in_the_way_of_a_put_is_named(settings: Settings) -> None:
    # given a file where rclone needs a folder
    store = S3ObjectStore.from_settings(settings, limits=Limits(attempts=1))
    marker, key = "jobs/j/outcome/00000/", "jobs/j/outcome/00000/00000000.json"
    store._client.put_object(Bucket=store.bucket, Key=marker, Body=b"")

    with pytest.raises(StoreRefusedError, match="delete 'jobs/j/outcome/00000'") as caught:
        store.put(key, b"x")
    assert store.endpoint not in caught.value.public_text

    store.delete(marker)
    store.put(key, b"x")


@pytest.mark.slow
def test_a_folder_that_is_in_the_way_of_a_put_is_named(settings: Settings) -> None:
    # given a folder where rclone needs a file
    store = S3ObjectStore.from_settings(settings, limits=Limits(attempts=1))
    store.put("jobs/j/final.json/x", b"")

    for put in (store.put, store.put_if_absent):
        with pytest.raises(StoreRefusedError, match="a folder of that name is in the way"):
            put("jobs/j/final.json", b"x")
    store.put("jobs/j/control.json", b"x")


def test_a_closed_port_is_store_unavailable(settings: Settings) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    store = S3ObjectStore.from_settings(settings.model_copy(update={"s3_endpoint_url": endpoint}))

    with pytest.raises(StoreUnavailableError, match=endpoint) as caught:
        store.get("k")

    assert caught.value.may_pass_later


def test_an_address_that_cannot_be_used_is_a_config_error(settings: Settings) -> None:
    for endpoint in (
        "http://not a host",
        "http://127.0.0.1:99999",
        "http://[::1",
        "http://host/?query",
        "http://user:hunter2@host",
        "http://user@host:hunter2",
        "http://user:hunter2@ho\u2100st",
        "http://host/?X-Amz-Signature=hunter2",
    ):
        wrong = settings.model_copy(update={"s3_endpoint_url": endpoint})
        with pytest.raises(ConfigError, match="FORNADA_S3_ENDPOINT_URL") as caught:
            S3ObjectStore.from_settings(wrong)
        assert "hunter2" not in str(caught.value)
    arn = {"s3_bucket": "arn:aws:s3:eu-west-1:123456789012:accesspoint/a"}
    with pytest.raises(ConfigError, match="FORNADA_S3_BUCKET"):
        S3ObjectStore.from_settings(settings.model_copy(update=arn))
