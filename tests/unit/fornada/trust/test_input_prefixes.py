"""Input prefixes: which objects a job may read, and which settings are refused."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fornada import keys
from fornada.errors import ConfigError
from fornada.settings import Settings
from fornada.trust.input_prefixes import InputPrefixes

#: Pieces that paths are made of, and attempts to leave a folder by.
_PIECES = ["a", "A", "inputs", "2026", "jobs", "models", "é", "e\u0301", "%2e%2e", "%2F", "\u2215"]
_PIECES += ["", ".", "..", " ", "\\", "\0", "\n", "\ud800", "\uff0f", "*"]
_KEYS = st.lists(st.sampled_from(_PIECES), min_size=1, max_size=5).map("/".join)


def _prefixes(text: str | None) -> InputPrefixes:
    return InputPrefixes.from_settings(Settings(s3_bucket="own", input_prefixes=text))


def _allowed(prefixes: InputPrefixes, *addresses: str) -> list[bool]:
    parts = [address.partition("/") for address in addresses]
    return [prefixes.allow(key, bucket or None) for bucket, _, key in parts]


def test_without_the_setting_jobs_read_inputs_of_the_deployments_bucket_alone() -> None:
    prefixes = _prefixes(None)

    assert "s3://own/inputs/" == str(prefixes)
    assert [True, True] == _allowed(prefixes, "/inputs/a.png", "own/inputs/deep/a.npy")
    refused = (
        "/a.png",
        "/inputs-2/a.png",
        "/Inputs/a",
        "other/inputs/a",
        "/models/m/1/model.keras",
    )
    assert not any(_allowed(prefixes, *refused))


def test_a_prefix_ends_at_a_slash_whether_it_is_given_or_not() -> None:
    for text in ("s3://lake/2026", "s3://lake/2026/"):
        prefixes = _prefixes(f"s3://camera/, {text}")
        allowed = ("lake/2026/a.png", "lake/2026//a", "camera/x", "camera//x")
        assert all(_allowed(prefixes, *allowed)), text
        refused = ("lake/2026-private/a.png", "lake/20", "lake/202", "own/2026/a", "/inputs/a")
        assert not any(_allowed(prefixes, *refused)), text
    # Without the slash it may be an object.
    assert [True, False] == [p.allow("a.tar", "b") for p in map(_prefixes, ("s3://b/a.tar", None))]


def test_no_prefix_opens_what_fornada_itself_writes() -> None:
    prefixes = _prefixes("s3://own/,s3://other/")

    own = ("models/m/1/model.keras", "jobs/j/input/0.npy")
    made = (keys.model_calibration("0" * 64, "here"), keys.conditions("http://s3"), keys.probe())
    for key in own + made:
        assert [False, False] == [prefixes.allow(key, bucket) for bucket in (None, "own")]
        assert not prefixes.allow(f"/{key.replace('/', '//')}", None), "merged slashes"
        assert prefixes.allow(key, "other")
    assert [True, True] == _allowed(prefixes, "/jobs-of-2025/a", "/mine/models/a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lake/2026/", "'lake/2026/'; write s3://bucket/prefix"),
        ("s3:///2026/", "'s3:///2026/'; write s3://bucket/prefix"),
        ("s3://a/,", "''; write s3://bucket/prefix"),
        ("s3://lake", "names no folder; write s3://lake/ for the whole bucket"),
        ("s3://own/jobs", "s3://own/jobs, where Fornada keeps"),
        ("s3://own/models/m/", "s3://own/models/m/, where Fornada keeps"),
        ("s3://own//jobs/", "s3://own//jobs/, where Fornada keeps"),
        ("s3://lake/a/../b/", "resolve '.' and '..'"),
        ("s3://arn:aws:s3:eu-west-1:1:accesspoint/a/b/", "an ARN is not the name of a bucket"),
        ("s3://la ke/", "'la ke' is not the name of a bucket"),
        (f"s3://lake/{'x' * 1100}/", "1101 bytes"),
    ],
)
def test_a_prefix_that_says_nothing_clear_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match="FORNADA_INPUT_PREFIXES") as info:
        _prefixes(text)

    assert message in str(info.value)


@given(folder=_KEYS, more=_KEYS, begins=st.booleans())
@example(folder="inputs", more="/../models/m", begins=True)
@example(folder="é", more="e\u0301/a", begins=False)
@example(folder="a", more="%2Fb", begins=True)
def test_what_is_allowed_lies_below_the_prefix_byte_by_byte(
    folder: str, more: str, *, begins: bool
) -> None:
    key = folder + more if begins else more
    try:
        prefixes = _prefixes(f"s3://lake/{folder}")
    except ConfigError:
        return

    if prefixes.allow(key, "lake"):
        path = key.encode().split(b"/")
        base = folder.rstrip().removesuffix("/").encode().split(b"/")
        assert not {b".", b".."} & set(path)
        assert base in ([b""], path[: len(base)])
        assert prefixes.meet(key[: len(key) // 2], "lake"), "what a listing of its folder needs"
    assert not prefixes.allow(key, "other")
    assert not prefixes.allow(key, None)


@given(key=_KEYS)
def test_no_key_reaches_what_fornada_writes_through_a_wide_prefix(key: str) -> None:
    prefixes = _prefixes("s3://own/")

    if prefixes.allow(key, None):
        parts = [part for part in key.split("/") if part]
        assert not (parts and parts[0] in {"models", "jobs"} and len(parts) > 1)
        assert not {".", ".."} & set(key.split("/"))
