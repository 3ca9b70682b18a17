"""Credentials of the embedded servers: random, private, kept."""

import stat
from pathlib import Path

import pytest

from fornada.errors import LocalDiskError, MessageError
from fornada.local.credentials import load_credentials, new_credentials, write_private
from fornada.trust.deployment_keys import KEY_BYTES


def test_no_two_are_alike() -> None:
    one, other = new_credentials(), new_credentials()

    assert one.redis_password != other.redis_password
    assert one.s3_access_key_id != other.s3_access_key_id
    assert one.s3_secret_access_key != other.s3_secret_access_key
    assert one.deployment_keys != other.deployment_keys


def test_a_folder_from_before_there_were_keys_gets_one(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    old = new_credentials().model_copy(update={"deployment_keys": None})
    path.write_bytes(old.to_json())

    read = load_credentials(path)

    assert 2 * KEY_BYTES == len(read.deployment_keys or "")
    assert old == read.model_copy(update={"deployment_keys": None})


def test_only_the_owner_may_read_the_file_also_if_it_was_open_to_all(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    path.write_bytes(b"old")
    path.chmod(0o644)

    write_private(path, b"new")

    assert b"new" == path.read_bytes()
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)


def test_a_file_that_is_not_ours_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "credentials.json"
    path.write_text('{"user": "me"}')

    with pytest.raises(MessageError, match=r"credentials\.json"):
        load_credentials(path)


def test_a_disk_that_refuses_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(LocalDiskError, match="--data"):
        write_private(tmp_path / "no-such-folder" / "file", b"1")


def test_a_link_beside_the_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target, path = tmp_path / "target", tmp_path / "env"
    target.write_bytes(b"mine")
    for link in (path, tmp_path / ".env.new"):
        link.symlink_to(target)

    write_private(path, b"secret")

    assert (b"mine", b"secret") == (target.read_bytes(), path.read_bytes())
    assert (False, 0o600) == (path.is_symlink(), stat.S_IMODE(path.stat().st_mode))
