"""Messages as Celery sends them."""

import json
from collections.abc import Iterator

from fornada.queue.celery_queue import bundles_of
from fornada.queue.envelope import new_envelope, open_envelope
from fornada.queue.message import MAX_BUNDLE, ShardMessage
from fornada.records import MAX_MESSAGE_BYTES


def message(number: int, size: int = 0) -> ShardMessage:
    if not size:
        return ShardMessage(job_id="job", shard=number)
    return ShardMessage(schema_version=2, job_id="job", shard=number, manifest="x" * size)


def numbers(bundles: Iterator[list[ShardMessage]]) -> list[list[int]]:
    return [[message.shard for message in bundle] for bundle in bundles]


def test_messages_are_bundled_by_number_and_by_size() -> None:
    small, large = [message(n) for n in range(5)], [message(n, 30_000) for n in range(5)]
    mixed = [message(0, 1), message(1, MAX_MESSAGE_BYTES), message(2, 1)]

    assert [[0], [1], [2], [3], [4]] == numbers(bundles_of(small, together=1))
    assert [[0, 1], [2, 3], [4]] == numbers(bundles_of(small, together=2))
    assert [[0, 1], [2, 3], [4]] == numbers(bundles_of(large, together=MAX_BUNDLE))
    assert [[0], [1], [2]] == numbers(bundles_of(mixed, together=MAX_BUNDLE))
    assert [] == list(bundles_of([], together=MAX_BUNDLE))


def test_the_arguments_that_celery_logs_do_not_show_the_callers_images() -> None:
    # given a message whose manifest carries images
    carried = ShardMessage(schema_version=2, job_id="job", shard=0, manifest="pixels")

    # when
    envelope = new_envelope([carried], queue="q")

    # then it is carried, and what stands for it in logs is not empty: then Celery shows it itself
    assert [carried] == open_envelope(envelope).messages
    headers = json.loads(envelope)["headers"]
    assert "(not shown)" == headers["argsrepr"]
    assert "pixels" not in json.dumps(headers)
