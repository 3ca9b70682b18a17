"""Settings: read from `FORNADA_*` only, with wrong ones named and secrets hidden."""

import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from fornada.coordination.redis import RedisCoordination
from fornada.errors import ConfigError
from fornada.settings import Settings


def test_an_empty_environment_gives_the_defaults() -> None:
    settings = Settings.from_env({"PATH": "/bin", "AWS_REGION": "x"})

    assert Settings() == settings
    assert "redis://127.0.0.1:6379/0" == settings.redis_url.get_secret_value()


def test_values_are_read_by_their_names() -> None:
    settings = Settings.from_env(
        {
            "FORNADA_REDIS_URL": "rediss://:pw@cache:6380/1",
            "FORNADA_QUEUE": "photos",
            "FORNADA_ITEMS_PER_SHARD": "12",
            "FORNADA_LEASE_S": "2.5",
            "FORNADA_CACHE_DIR": "/var/cache/fornada",
            "FORNADA_S3_ACCESS_KEY_ID": "id",
            "FORNADA_S3_SECRET_ACCESS_KEY": "secret",
        }
    )

    assert "rediss://:pw@cache:6380/1" == settings.redis_url.get_secret_value()
    assert ("photos", 12, 2.5) == (settings.queue, settings.items_per_shard, settings.lease_s)
    assert Path("/var/cache/fornada") == settings.cache_dir
    assert SecretStr("secret") == settings.s3_secret_access_key


def test_an_empty_value_is_as_good_as_none() -> None:
    assert Settings() == Settings.from_env({"FORNADA_QUEUE": "", "FORNADA_S3_ENDPOINT_URL": ""})


def test_only_from_env_reads_an_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORNADA_QUEUE", "elsewhere")

    assert "fornada" == Settings().queue
    assert "fornada" == Settings.from_env({}).queue


def test_an_unknown_variable_is_an_error_with_a_suggestion() -> None:
    for name, hint in (
        ("FORNADA_REDIS_ULR", "did you mean FORNADA_REDIS_URL?"),
        ("FORNADA_ITEM_PER_SHARD", "did you mean FORNADA_ITEMS_PER_SHARD?"),
        ("FORNADA_S3_ENDPOINT", "did you mean FORNADA_S3_ENDPOINT_URL?"),
        ("FORNADA_XYZZY", "unset it"),
        ("FORNADA_", "unset it"),
    ):
        with pytest.raises(ConfigError) as caught:
            Settings.from_env({name: "1"})

        expected = f"{name} is not a setting; {hint} (all: docs/reference/settings.md)"
        assert expected == str(caught.value)
        assert 2 == caught.value.exit_code


def test_a_wrong_value_names_its_variable() -> None:
    for name, values in {
        "ITEMS_PER_SHARD": ("0", "many", "1.5"),
        "MAX_ATTEMPTS": ("101",),
        "MAX_BATCH_SIZE": ("-1",),
        "LEASE_S": ("0.5", "nan", "inf"),
        "SHARD_DEADLINE_S": ("0", "inf"),
        "RECONCILE_INTERVAL_S": ("inf",),
        "LOG_LEVEL": ("LOUD",),
        "LOG_FORMAT": ("xml",),
        "QUEUE": ("a b", "../x"),
        "REDIS_URL": ("http://127.0.0.1", "redis:127.0.0.1"),
        "S3_ENDPOINT_URL": ("127.0.0.1:9000", "user:hunter2@host", "host?key=hunter2"),
    }.items():
        for value in values:
            with pytest.raises(ConfigError, match=f"^FORNADA_{name} ") as caught:
                Settings.from_env({f"FORNADA_{name}": value})
            assert "hunter2" not in str(caught.value)


def test_a_value_of_the_wrong_form_is_told_what_it_should_be() -> None:
    for name, words in {
        "URL": "a URL that begins with `http://` or `https://`",
        "REDIS_CREDENTIALS": "`package.module:function`",
        "QUEUE": "1 to 128 letters, digits, `.`, `_`, `-`, a letter or digit first",
    }.items():
        # when
        with pytest.raises(ConfigError) as caught:
            Settings.from_env({f"FORNADA_{name}": "not one"})

        # then
        assert (
            f"FORNADA_{name} is not usable: it takes {words}; see docs/reference/settings.md"
        ) == str(caught.value)


def test_half_a_credential_is_an_error() -> None:
    for given in ("S3_ACCESS_KEY_ID", "S3_SECRET_ACCESS_KEY"):
        with pytest.raises(ConfigError, match="belong together") as caught:
            Settings.from_env({f"FORNADA_{given}": "hunter2"})

        assert "hunter2" not in str(caught.value)


def test_secrets_are_not_shown() -> None:
    settings = Settings.from_env(
        {
            "FORNADA_REDIS_URL": "redis://:hunter2@cache:6379/0",
            "FORNADA_S3_ACCESS_KEY_ID": "id",
            "FORNADA_S3_SECRET_ACCESS_KEY": "hunter2",
        }
    )

    for shown in (repr(settings), str(settings), settings.model_dump_json(), f"{settings!s:.999}"):
        assert "hunter2" not in shown


def test_a_wrong_redis_url_is_refused_without_showing_it() -> None:
    for url in ("default:hunter2@cache:6379/0", "hunter2", "://hunter2@cache", "redis//:hunter2@c"):
        with pytest.raises(ConfigError, match="FORNADA_REDIS_URL") as caught:
            Settings.from_env({"FORNADA_REDIS_URL": url})
        assert "hunter2" not in str(caught.value)

    for url in ("redis://:hunt/er2@cache:6379/0", "redis://:hunter2@cache:port/0"):
        settings = Settings.from_env({"FORNADA_REDIS_URL": url})
        with pytest.raises(ConfigError, match="FORNADA_REDIS_URL") as caught:
            RedisCoordination.from_settings(settings)
        assert "hunt" not in str(caught.value)


def test_every_setting_says_what_it_is() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name


def test_a_secret_may_be_in_a_file(tmp_path: Path) -> None:
    url, empty = tmp_path / "url", tmp_path / "empty"
    url.write_text("redis://:pw@cache:6380/1\n")
    empty.touch()

    settings = Settings.from_env({"FORNADA_REDIS_URL_FILE": str(url)})

    assert "redis://:pw@cache:6380/1" == settings.redis_url.get_secret_value()
    for environ, fact in (
        (
            {"FORNADA_REDIS_URL_FILE": str(url), "FORNADA_REDIS_URL": "redis://"},
            "FORNADA_REDIS_URL and FORNADA_REDIS_URL_FILE are both set",
        ),
        ({"FORNADA_REDIS_URL_FILE": "/absent"}, "cannot be read (No such file or directory)"),
        ({"FORNADA_DEPLOYMENT_KEYS_FILE": str(empty)}, "FORNADA_DEPLOYMENT_KEYS_FILE names"),
        # Others have none.
        ({"FORNADA_QUEUE_FILE": str(url)}, "FORNADA_QUEUE_FILE is not a setting"),
    ):
        with pytest.raises(ConfigError, match=re.escape(fact)):
            Settings.from_env(environ)
