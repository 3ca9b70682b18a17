"""Credentials that boto3 finds: named where they are wrong, and renewed before they expire."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest

from fornada.errors import StoreCredentialsError
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore

WithEnviron = Callable[[dict[str, str]], S3ObjectStore]


@pytest.fixture
def with_environ(
    moto_settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> WithEnviron:
    """Opens a store without keys of its own, in this environment."""

    def open_in(environ: dict[str, str]) -> S3ObjectStore:
        nothing = {
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(tmp_path / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        }
        for name, value in {**nothing, **environ}.items():
            monkeypatch.setenv(name, value)
        without = {"s3_access_key_id": None, "s3_secret_access_key": None}
        return S3ObjectStore.from_settings(moto_settings.model_copy(update=without))

    return open_in


def test_credentials_that_cannot_be_used_are_named(
    with_environ: WithEnviron,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "broken").write_text("no section here")
    (tmp_path / "half").write_text("[default]\naws_access_key_id = AKIAHALF\n")
    (tmp_path / "fails").write_text("[default]\ncredential_process = false\n")
    role = {"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/worker"}
    for environ, facts in (
        ({}, ["no credentials", "FORNADA_S3_ACCESS_KEY_ID"]),
        ({"AWS_PROFILE": "nobody"}, ["(nobody)", "AWS_PROFILE"]),
        ({"AWS_ACCESS_KEY_ID": "AKIAHALF"}, ["AWS_SECRET_ACCESS_KEY", "set both"]),
        (
            {**role, "AWS_WEB_IDENTITY_TOKEN_FILE": "/nope"},
            ["/nope", "AWS_WEB_IDENTITY_TOKEN_FILE"],
        ),
        ({"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "half")}, ["set both"]),
        ({"AWS_CONFIG_FILE": str(tmp_path / "broken")}, [str(tmp_path / "broken")]),
        ({"AWS_CONFIG_FILE": str(tmp_path / "fails")}, ["custom-process", "check the role"]),
    ):
        store = with_environ(environ)
        for call in (lambda: store.get("k"), lambda: store.put("k", b"1"), store.server_time):  # noqa: B023 - called at once
            with pytest.raises(StoreCredentialsError) as caught:
                call()
            assert [] == [fact for fact in facts if fact not in str(caught.value)]
        for name in environ:
            monkeypatch.delenv(name)
    # A failure is told by whoever meets it, once.
    assert [] == [record for record in caplog.records if record.levelno >= logging.WARNING]
