"""Deployment keys: what is signed, what a rotation accepts, and what a wrong key says."""

import hashlib
import hmac

import pytest
from pydantic import SecretStr

from fornada.errors import ConfigError
from fornada.settings import Settings
from fornada.trust.deployment_keys import DeploymentKeys, new_key

_OLD, _NEW = "0" * 64, "1f" * 32


def _keys(text: str | None) -> DeploymentKeys:
    secret = None if text is None else SecretStr(text)
    return DeploymentKeys.from_settings(Settings(deployment_keys=secret))


def test_a_signature_is_what_the_reference_says() -> None:
    digest = hashlib.sha256(b"{}").hexdigest()
    signed = f"fornada:manifest:v1\njob-1\n{digest}".encode()
    expected = hmac.new(bytes.fromhex(_NEW), signed, hashlib.sha256).hexdigest()

    assert expected == _keys(_NEW).sign("manifest", "job-1", b"{}")


def test_a_signature_holds_for_its_kind_name_and_bytes_alone() -> None:
    keys = _keys(_NEW)
    signature = keys.sign("manifest", "job-1", b"{}")

    assert keys.verify("manifest", "job-1", b"{}", signature)
    assert not keys.verify("end", "job-1", b"{}", signature)
    assert not keys.verify("manifest", "job-2", b"{}", signature)
    assert not keys.verify("manifest", "job-1", b"[]", signature)
    assert not keys.verify("manifest", "job-1", b"{}", None)
    assert not _keys(_OLD).verify("manifest", "job-1", b"{}", signature)


def test_after_a_rotation_the_first_key_signs_and_the_old_one_verifies() -> None:
    rotated = _keys(f"{_NEW}, {_OLD}")

    assert rotated.verify("call", "c", b"x", _keys(_OLD).sign("call", "c", b"x"))
    assert _keys(_NEW).sign("call", "c", b"x") == rotated.sign("call", "c", b"x")


def test_without_a_key_nothing_is_signed_or_verified() -> None:
    none = _keys(None)

    assert not none
    assert none.sign("call", "c", b"x") is None
    assert not none.verify("call", "c", b"x", _keys(_NEW).sign("call", "c", b"x"))


@pytest.mark.parametrize("wrong", ["secret-but-short", "zz" * 32, f"{_NEW},", "1f" * 31])
def test_a_wrong_key_is_refused_and_not_shown(wrong: str) -> None:
    with pytest.raises(ConfigError, match="64 hex digits; make one with") as caught:
        _keys(wrong)

    assert wrong not in str(caught.value)


def test_a_new_key_is_usable_and_no_key_prints() -> None:
    key = new_key()

    assert _keys(key)
    assert "DeploymentKeys(1 keys)" == repr(_keys(key))
    assert key not in repr(Settings(deployment_keys=SecretStr(key)))
