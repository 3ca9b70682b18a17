"""FORNADA_REDIS_URL is read once, and refused by the name of an option, without a secret."""

import pytest

from fornada.errors import ConfigError
from fornada.redis_server.url import parse_redis_url


def test_a_url_becomes_redis_pys_options() -> None:
    for url, label, options in (
        ("redis://h", "redis://h/0", {"host": "h"}),
        (
            "redis://u:p%2F%40%25%20@h:7/2?socket_timeout=5&protocol=3&client_name=x",
            "redis://h:7/2",
            {
                "host": "h",
                "port": 7,
                "db": 2,
                "username": "u",
                "password": "p/@% ",
                "socket_timeout": 5.0,
                "protocol": 3,
                "client_name": "x",
            },
        ),
        ("redis://h?db=2", "redis://h/2", {"host": "h", "db": 2}),
        ("unix://:pw@/run/s?db=3", "unix:///run/s", {"path": "/run/s", "db": 3, "password": "pw"}),
    ):
        address = parse_redis_url(url)

        assert (label, options) == (address.label, address.options)
        assert "pw" not in repr(address)


def test_sentinels_and_their_service_are_found() -> None:
    address = parse_redis_url("sentinel://:pw@a:1,b/main/4?sentinel_password=x")

    assert ((("a", 1), ("b", 26379)), "main", 4) == (
        address.sentinels,
        address.service,
        address.options["db"],
    )
    assert "sentinel://a:1,b:26379/main/4" == address.label


def test_tls_is_verified_unless_the_url_says_otherwise() -> None:
    assert not parse_redis_url("rediss://h").is_unverified
    assert not parse_redis_url("redis://h").is_unverified
    for option in ("ssl_cert_reqs=none", "ssl_cert_reqs=CERT_NONE", "ssl_check_hostname=false"):
        assert parse_redis_url(f"rediss://h?{option}").is_unverified


def test_what_is_wrong_is_named_without_a_secret() -> None:
    for rest, fact in (
        ("h?max_retries=3", "max_retries.*not supported"),
        ("h?decode_responses=1", "decode_responses.*not supported"),
        ("h?ssl_cert_reqs=none", "ssl_cert_reqs.*needs TLS"),
        ("h?socket_timeout=abc", "socket_timeout.*no usable value"),
        ("h?socket_timeout=0.5", "socket_timeout.*at least 2"),
        ("h?protocol=4", "protocol.*neither 2 nor 3"),
        ("h?client_name=a%20b", "client_name.*space"),
        ("h/1?db=2", "db.*differs"),
        ("h?db=1&db=2", "db.*twice"),
        ("h/1/2", "not a number"),
        ("h/hunter2", "not a number"),
    ):
        with pytest.raises(ConfigError, match=fact) as caught:
            parse_redis_url(f"redis://:hunter2@{rest}")

        assert "hunter2" not in str(caught.value)


def test_a_password_that_is_not_encoded_is_not_shown() -> None:
    for password in ("hun/ter2", "hun?ter2", "hun#ter2", "1/hun=ter2", "hun?ter2=1", "[hunter2"):
        with pytest.raises(ConfigError, match="percent-encode") as caught:
            parse_redis_url(f"redis://:{password}@h:6379/0")

        assert "ter2" not in str(caught.value)
