"""Listings of any length, a page in memory at a time."""

from collections.abc import Callable, Iterator
from typing import Any

from botocore.parsers import ResponseParserError

from fornada.storage.s3.fast.wire import FastHttpClient
from fornada.storage.s3.limits import Limits, read_whole
from fornada.storage.s3.refusals.unanswered import NotS3Error

#: boto3's names of what is asked for, as they are in an address.
_NAMES = {
    "Prefix": "prefix",
    "Delimiter": "delimiter",
    "ContinuationToken": "continuation-token",
}


def pages(
    client: Callable[[], Any], wire: FastHttpClient | None, *, limits: Limits, **asked: str
) -> Iterator[dict[str, Any]]:
    """The pages of a listing, each read whole before it is passed on.

    Args:
        client: boto3's client.
        wire: The fast client, which is asked first.
        limits: How often an answer that breaks off is asked for again.
        **asked: What `list_objects_v2` takes.

    Raises:
        NotS3Error: The server does not continue it, or lists its pages in no order.
        ResponseParserError: An answer breaks off each time.
    """
    following: dict[str, str] = {}
    last_key = ""

    def read() -> dict[str, Any]:
        given = {**asked, **following}
        bucket = given.pop("Bucket")
        named = {_NAMES[name]: value for name, value in given.items()}
        found = None if wire is None else wire.list_page(bucket, named)
        if found is not None:
            return found
        page: dict[str, Any] = client().list_objects_v2(Bucket=bucket, **given)
        if "IsTruncated" not in page:
            # boto3 takes an answer that broke off before its first byte for an empty listing.
            raise ResponseParserError("the answer is not a listing")
        return page

    while True:
        page = read_whole(read, limits)
        entries = _in_order(page, after=last_key)
        last_key = entries[-1]["Key"] if entries else last_key
        yield {**page, "Contents": entries}
        if not page["IsTruncated"]:
            return
        token = page.get("NextContinuationToken")
        if not token or token == following.get("ContinuationToken"):
            raise NotS3Error("it does not continue a listing")
        following = {"ContinuationToken": token}


def _in_order(page: dict[str, Any], *, after: str) -> list[dict[str, Any]]:
    """The page's objects, each once.

    rclone names an object that is being replaced twice, or in another's place.

    Raises:
        NotS3Error: An object belongs on an earlier page, or the page repeats one and goes on.
    """
    given = page.get("Contents", ())
    by_key = {entry["Key"]: entry for entry in given}
    if any(key < after for key in by_key):
        raise NotS3Error("it lists objects in no order")
    by_key.pop(after, None)
    if given and not by_key and page["IsTruncated"]:
        raise NotS3Error("it lists one object over and over")
    return [by_key[key] for key in sorted(by_key)]
