"""Where webhooks may go: URLs that are taken, and addresses that are connected to.

A gateway stands inside a network that callers do not. What it calls for them is public, unless the
operator lists the host: else a webhook would reach the metadata of a cloud, or a database beside.
"""

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self
from urllib.parse import urlsplit

from fornada.settings import Settings
from gateway.webhooks.errors import WebhookCallError, WebhookRefusedError

MAX_URL_CHARACTERS = 2000
_PORTS = {"http": 80, "https": 443}
#: What `is_global` takes and is no host's own: protocols', and IPv6 that stands for IPv4.
_NOT_PUBLIC = tuple(
    ipaddress.ip_network(network)
    for network in (
        *("192.0.0.0/24", "192.88.99.0/24", "::/96", "::ffff:0:0/96", "64:ff9b::/96"),
        *("64:ff9b:1::/48", "2002::/16", "2001::/23"),
    )
)

Resolve = Callable[..., Sequence[tuple[Any, ...]]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """A webhook's URL in parts."""

    scheme: str
    #: A name or an address, as in the URL.
    host: str
    port: int
    #: Path and query.
    path: str

    @classmethod
    def of(cls, url: str) -> Self:
        """The parts of `url`.

        Raises:
            WebhookRefusedError: It is none that is called.
        """
        if len(url) > MAX_URL_CHARACTERS:
            raise _refused(f"has {len(url)} characters, more than {MAX_URL_CHARACTERS}")
        if not (url.isascii() and url.isprintable()) or set(url) & set(' \\"<>^`{|}'):
            raise _refused("has characters that a URL has not; percent-encode them")
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as exc:
            raise _refused(f"is no URL ({exc})") from exc
        if parts.scheme not in _PORTS or not host:
            raise _refused("does not begin with https:// or http:// and a host")
        if "@" in parts.netloc:
            raise _refused("has a user or password, which would be kept in the job; leave it out")
        if parts.fragment:
            raise _refused("has a fragment, which is never sent; leave out what follows #")
        path = parts.path or "/"
        return cls(
            scheme=parts.scheme,
            host=host,
            port=_PORTS[parts.scheme] if port is None else port,
            path=f"{path}?{parts.query}" if parts.query else path,
        )


class Addresses:
    """Finds the addresses of webhooks' hosts, and refuses those that are not public.

    Args:
        allowed_hosts: Hosts, as URLs name them, whose addresses may be any.
        resolve: As `socket.getaddrinfo`.
    """

    def __init__(
        self, *, allowed_hosts: frozenset[str], resolve: Resolve = socket.getaddrinfo
    ) -> None:
        self._allowed_hosts = allowed_hosts
        self._resolve = resolve

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """With the hosts that `settings` list."""
        listed = (settings.webhook_hosts or "").split(",")
        return cls(allowed_hosts=frozenset(host.strip().lower() for host in listed))

    def check(self, target: Target) -> None:
        """Refuse a host that can be seen not to be public, before its name is looked up.

        Raises:
            WebhookRefusedError: It is an address that is not public, or this machine.
        """
        if target.host in self._allowed_hosts:
            return
        is_local = target.host == "localhost" or target.host.endswith(".localhost")
        # A name may have another address when it is called.
        with contextlib.suppress(ValueError):
            is_local = is_local or not is_public(target.host)
        if is_local:
            raise WebhookRefusedError(_not_public(target.host, target.host))

    def of(self, target: Target) -> list[str]:
        """The addresses to connect to, in the order to try them.

        Raises:
            WebhookCallError: The host has none, or one that is not public.
        """
        try:
            found = self._resolve(target.host, target.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as exc:
            fact = f"host {target.host} has no address ({exc})"
            raise _not_callable(fact, target.host) from exc
        addresses = list(dict.fromkeys(str(each[4][0]) for each in found))
        if target.host not in self._allowed_hosts:
            for address in addresses:
                if not is_public(address):
                    raise _not_callable(_not_public(target.host, address), target.host)
        return addresses


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public Internet.

    Raises:
        ValueError: It is no address.
    """
    ip = ipaddress.ip_address(address)
    if ip.is_multicast or not ip.is_global or any(ip in network for network in _NOT_PUBLIC):
        return False
    return isinstance(ip, ipaddress.IPv4Address) or not ip.is_site_local


def _refused(fact: str) -> WebhookRefusedError:
    # Without the URL: it may hold a password.
    return WebhookRefusedError(f"webhook.url {fact}; give one such as https://example.com/jobs")


def _not_callable(fact: str, host: str) -> WebhookCallError:
    # Callers do not learn which names there are in the gateway's network, nor what they mean.
    return WebhookCallError(fact).with_public_text(
        f"host {host} has no public address; give one that has, or list the host in "
        "FORNADA_WEBHOOK_HOSTS"
    )


def _not_public(host: str, address: str) -> str:
    return (
        f"webhook host {host} is {address}, which is not public; give a public one, or list the "
        "host in FORNADA_WEBHOOK_HOSTS"
    )
