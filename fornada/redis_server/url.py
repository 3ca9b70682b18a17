"""FORNADA_REDIS_URL, parsed once: the same connections for redis-py and for Celery."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import redis
from redis.connection import parse_url as redis_options
from redis.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)

from fornada.errors import ConfigError
from fornada.settings import check_redis_scheme

#: Commands block for a second; a shorter timeout would break each of them.
MIN_SOCKET_TIMEOUT_S = 2.0

UNVERIFIED = (
    "Redis's certificate is not verified: whoever answers at its address is believed, and gets the "
    "password; remove ssl_cert_reqs and ssl_check_hostname from FORNADA_REDIS_URL"
)

_SENTINEL_PORT = 26379
_SCHEMES = {
    "redis": redis.Connection,
    "rediss": redis.SSLConnection,
    "unix": redis.UnixDomainSocketConnection,
    "sentinel": SentinelManagedConnection,
    "sentinels": SentinelManagedSSLConnection,
}
_FILES = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
#: Options of a pool, whose threads wait for a connection instead of failing.
_POOL = frozenset({"max_connections", "timeout"})
_OPTIONS = _POOL | {
    "client_name",
    "db",
    "health_check_interval",
    "lib_name",
    "lib_version",
    "password",
    "protocol",
    "retry_on_timeout",
    "socket_connect_timeout",
    "socket_keepalive",
    "socket_read_size",
    "socket_timeout",
    "username",
}
_TLS_FLAGS = frozenset({"ssl_validate_ocsp", "ssl_validate_ocsp_stapled"})
_TLS_OPTIONS = (
    _FILES
    | _TLS_FLAGS
    | {
        "ssl_ca_data",
        "ssl_ca_path",
        "ssl_cert_reqs",
        "ssl_check_hostname",
        "ssl_ciphers",
        "ssl_exclude_verify_flags",
        "ssl_include_verify_flags",
        "ssl_min_version",
        "ssl_ocsp_expected_cert",
        "ssl_password",
    }
)
_SENTINEL_OPTIONS = frozenset({"sentinel_password", "sentinel_username"})
_WORD = (
    lambda text: text.isascii() and text.isprintable() and " " not in text,
    "has a space or a character beyond ASCII, which Redis refuses",
)
_RANGES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "socket_timeout": (
        lambda value: MIN_SOCKET_TIMEOUT_S <= value < math.inf,
        f"is out of range; give at least {MIN_SOCKET_TIMEOUT_S:g} seconds",
    ),
    "socket_connect_timeout": (lambda value: 0 < value < math.inf, "is out of range"),
    "timeout": (lambda value: 0 < value < math.inf, "is out of range"),
    "db": (lambda value: value >= 0, "is negative"),
    "health_check_interval": (lambda value: value >= 0, "is negative"),
    "max_connections": (lambda value: value >= 1, "is less than 1"),
    "socket_read_size": (lambda value: value >= 1, "is less than 1"),
    "protocol": (lambda value: value in {2, 3}, "is neither 2 nor 3"),
    "client_name": _WORD,
    "lib_name": _WORD,
    "lib_version": _WORD,
    "ssl_cert_reqs": (
        lambda value: value in {"none", "optional", "required"},
        "is neither required, optional nor none",
    ),
}
_QUOTED = (
    "percent-encode user and password: '/', '#', '?', '@' and '%' are %2F, %23, %3F, %40 and %25"
)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where the server is and how to connect to it. Its text holds no secret."""

    #: The URL without user, password and options.
    label: str
    connection_class: type = field(repr=False)
    #: redis-py's arguments of a connection.
    options: Mapping[str, Any] = field(repr=False)
    sentinels: tuple[tuple[str, int], ...] = ()
    #: What Sentinel calls the master.
    service: str | None = None

    def __repr__(self) -> str:
        # kombu shares connections between options of the same text. Python salts the hash.
        return f"RedisAddress({self.label!r}, {hash(repr(sorted(self.options.items())))})"

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return issubclass(self.connection_class, redis.SSLConnection)

    @property
    def is_unverified(self) -> bool:
        """Whether connections are encrypted, but to whoever answers."""
        return self.tls and (
            self.options.get("ssl_cert_reqs") == "none"
            or not self.options.get("ssl_check_hostname", True)
        )

    def pool(
        self,
        *,
        wrap: Callable[[type], type] | None = None,
        **defaults: Any,
    ) -> redis.ConnectionPool:
        """A new pool; makes no contact yet.

        Args:
            wrap: Returns the class of connections to use in place of the given one.
            defaults: redis-py's arguments of a connection, where the URL has none.
        """
        options = {**defaults, **self.options}
        connection_class = self.connection_class if wrap is None else wrap(self.connection_class)
        if issubclass(self.connection_class, redis.UnixDomainSocketConnection):
            options.pop("socket_keepalive", None)
        if self.service is not None:
            return SentinelConnectionPool(  # type: ignore[no-untyped-call]  # redis-py has no types here
                self.service,
                self._sentinel(options),
                connection_class=connection_class,
                check_connection=True,
                **{
                    name: value
                    for name, value in options.items()
                    if name not in _SENTINEL_OPTIONS | {"host", "port"}
                },
            )
        if _POOL & options.keys():
            return redis.BlockingConnectionPool(  # type: ignore[no-untyped-call]  # redis-py has no types here
                connection_class=connection_class, **options
            )
        return redis.ConnectionPool(connection_class=connection_class, **options)

    def _sentinel(self, options: Mapping[str, Any]) -> Sentinel:
        given = {
            name: value
            for name, value in options.items()
            if name.startswith(("socket_", "ssl_")) and name != "socket_read_size"
        }
        for name in _SENTINEL_OPTIONS & options.keys():
            given[name.removeprefix("sentinel_")] = options[name]
        return Sentinel(  # type: ignore[no-untyped-call]  # redis-py has no types here
            list(self.sentinels), sentinel_kwargs={**given, "ssl": self.tls}
        )


def parse_redis_url(url: str) -> RedisAddress:
    """The address that `url` names; makes no contact.

    Raises:
        ConfigError: `url` is no URL, or an option is unknown or out of range. Shows no part of
            the URL but names of options, since a URL cut short may begin with the password.
    """
    check_redis_scheme(url)
    try:
        return _parse(url.partition("://")[0], url)
    except ConfigError:
        raise
    except (ValueError, TypeError) as exc:
        # redis-py's text names the option; the URL's own may hold a part of the password.
        option = str(exc).partition("'")[2].partition("'")[0]
        if option in _OPTIONS | _TLS_OPTIONS:
            raise _refused(option, "has no usable value") from None
        raise ConfigError(
            f"FORNADA_REDIS_URL is not a URL; give e.g. redis://127.0.0.1:6379/0, and {_QUOTED}"
        ) from None


def _parse(scheme: str, url: str) -> RedisAddress:
    parts = urlsplit(url)
    if parts.fragment or "@" in parts.path + parts.query:
        raise ConfigError(f"FORNADA_REDIS_URL has a '#' or '@' after its host; {_QUOTED}")
    _check_names(scheme, parts.query)
    user, at, hosts = parts.netloc.rpartition("@")
    sentinels: tuple[tuple[str, int], ...] = ()
    service, database = None, parts.path.strip("/")
    if scheme.startswith("sentinel"):
        sentinels = tuple(_host(host) for host in hosts.split(","))
        service, _, database = database.partition("/")
        if not service:
            raise ConfigError(
                "FORNADA_REDIS_URL names no service; give "
                "sentinel://host:26379,host:26379/service/0"
            )
        hosts = "sentinel"
    if scheme == "unix" and (hosts or not database):
        raise ConfigError(
            "FORNADA_REDIS_URL names no absolute path; give unix:///run/redis.sock?db=0"
        )
    # redis-py knows neither of Sentinel's schemes.
    plain = url if scheme == "unix" else f"redis://{user}{at}{hosts}/{database}?{parts.query}"
    options = _checked(redis_options(plain))  # type: ignore[no-untyped-call]  # redis-py has no types here
    options.pop("connection_class", None)
    if scheme == "unix":
        label = f"unix://{parts.path}"
    else:
        _check_database(database, options)
        where = ",".join(f"{host}:{port}" for host, port in sentinels) or hosts
        label = "/".join(filter(None, [f"{scheme}://{where}", service, str(options.get("db", 0))]))
    return RedisAddress(
        label=label,
        connection_class=_SCHEMES[scheme],
        options=options,
        sentinels=sentinels,
        service=service,
    )


def _check_names(scheme: str, query: str) -> None:
    known = _OPTIONS
    if scheme in {"rediss", "sentinels"}:
        known = known | _TLS_OPTIONS
    if scheme.startswith("sentinel"):
        known = (known | _SENTINEL_OPTIONS) - _POOL
    if scheme == "unix":
        known = known - {"socket_keepalive"}
    seen: set[str] = set()
    for name, _ in parse_qsl(query, keep_blank_values=True):
        if name in seen:
            raise _refused(name, "is given twice")
        if name in _TLS_OPTIONS - known:
            raise _refused(name, "needs TLS; begin the URL with rediss:// or sentinels://")
        if name not in known:
            # A password that is not encoded can look like an option.
            shown = name if name.isidentifier() and name.islower() else "an option"
            raise _refused(shown, f"is not supported with {scheme}://; known: {sorted(known)}")
        seen.add(name)


def _host(text: str) -> tuple[str, int]:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError
    return parts.hostname, parts.port or _SENTINEL_PORT


def _check_database(path: str, options: Mapping[str, Any]) -> None:
    # redis-py takes 0 for what is no number, and 12 for 1/2.
    if path and not (path.isascii() and path.isdigit()):
        raise ConfigError(
            f"FORNADA_REDIS_URL names a database that is not a number; give e.g. /0, and {_QUOTED}"
        )
    if path and options.get("db") != int(path):
        raise _refused("db", "differs from the database in the path; leave one out")


def _checked(options: Mapping[str, Any]) -> dict[str, Any]:
    checked = dict(options)
    for name in _TLS_FLAGS & checked.keys():
        checked[name] = checked[name].lower() in {"1", "true", "yes"}
    if "ssl_cert_reqs" in checked:
        checked["ssl_cert_reqs"] = checked["ssl_cert_reqs"].lower().removeprefix("cert_")
    for name, (fits, why) in _RANGES.items():
        if name in checked and not fits(checked[name]):
            raise _refused(name, why)
    for name in _FILES & checked.keys():
        if not Path(checked[name]).is_file():
            raise _refused(name, f"is {checked[name]!r}, which is not a file")
    return checked


def _refused(option: str, why: str) -> ConfigError:
    return ConfigError(f"{option} in FORNADA_REDIS_URL {why}")
