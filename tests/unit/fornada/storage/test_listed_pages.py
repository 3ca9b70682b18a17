"""Pages of listings as S3 writes them, and what is no page."""

from datetime import UTC, datetime

import pytest

from fornada.storage.s3.fast.pages import parse_page

_PAGE = """<?xml version="1.0" encoding="UTF-8"?>
<ListBucketResult{space}><Name>b</Name><EncodingType>url</EncodingType>
<IsTruncated>true</IsTruncated><NextContinuationToken>a+b%2F==</NextContinuationToken>
<Contents><Key>a+b%2B%C3%BC%26</Key><LastModified>2026-11-29T20:39:22.123Z</LastModified>
<ETag>&quot;d41d8cd9&quot;</ETag><Size>7</Size><StorageClass>STANDARD</StorageClass></Contents>
<CommonPrefixes><Prefix>x+y/</Prefix></CommonPrefixes></ListBucketResult>"""
_NAMESPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


@pytest.mark.parametrize("space", ["", _NAMESPACE])
def test_a_page_has_the_keys_as_they_are_and_the_token_as_it_was_given(space: str) -> None:
    assert {
        "IsTruncated": True,
        "NextContinuationToken": "a+b%2F==",
        "Contents": [
            {
                "Key": "a b+ü&",
                "Size": 7,
                "ETag": '"d41d8cd9"',
                "LastModified": datetime(2026, 11, 29, 20, 39, 22, 123000, UTC),
            }
        ],
        "CommonPrefixes": [{"Prefix": "x y/"}],
    } == parse_page(_PAGE.format(space=space).encode())


def test_what_is_no_whole_page_is_left_to_boto3() -> None:
    page = _PAGE.format(space="")
    for body in (
        "",
        "<html>",
        page[:-1],
        page.replace("ListBucketResult", "Error"),
        page.replace("<IsTruncated>true</IsTruncated>", ""),
        page.replace("<Key>a+b%2B%C3%BC%26</Key>", ""),
        page.replace("<Size>7<", "<Size>many<"),
        page.replace("22.123Z", "22.123"),
    ):
        assert parse_page(body.encode()) is None
