"""Where webhooks go: public addresses alone, the ones that were looked at, within a time."""

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import httpcore2
import pytest
import trustme

from gateway.webhooks.addresses import Addresses, Target, is_public
from gateway.webhooks.calls import WebhookCalls
from gateway.webhooks.errors import WebhookCallError, WebhookRefusedError

from .receiver import Receiver

_NO_TLS = ssl.create_default_context()


def test_an_address_that_is_not_public_is_never_called() -> None:
    private = [
        *("0.0.0.0", "127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.1.1"),
        *("169.254.169.254", "100.64.0.1", "192.0.0.9", "192.0.2.1", "198.18.0.1", "198.51.100.7"),
        *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
        *("::", "::1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "64:ff9b::808:808"),
        *("2002:7f00:1::", "2002:808:808::", "2001:0:808:808::", "2001:db8::1", "100::1"),
        *("fe80::1", "fe80::1%eth0", "fc00::1", "fd12::1", "fec0::1", "ff02::1", "ff0e::1"),
    ]

    assert [] == [address for address in private if is_public(address)]


def test_public_addresses_are_called() -> None:
    public = ["8.8.8.8", "1.1.1.1", "93.184.215.14", "2606:4700::1111", "2a00:1450:4001:830::200e"]

    assert public == [address for address in public if is_public(address)]


@pytest.mark.parametrize(
    ("url", "fact"),
    [
        ("ftp://example.com/", "does not begin with https://"),
        ("https:///path", "does not begin with https://"),
        ("file:///etc/passwd", "does not begin with https://"),
        ("https://user:pw@example.com/", "has a user or password"),
        ("https://@example.com/", "has a user or password"),
        ("https://example.com:99999/", "is no URL"),
        ("https://[::1/", "is no URL"),
        ("https://example.com/#there", "has a fragment"),
        ("https://example.com/a b", "has characters"),
        ("https://example.com\\@10.0.0.1/", "has characters"),
        ("https://example.com/\r\nHost: x", "has characters"),
        ("https://bücher.example/", "has characters"),
        ("https://example.com/" + 2000 * "a", "has 2020 characters"),
    ],
)
def test_what_is_no_url_of_a_webhook_is_refused(url: str, fact: str) -> None:
    with pytest.raises(WebhookRefusedError, match=fact) as refused:
        Target.of(url)

    assert "pw" not in str(refused.value)


def test_a_host_that_is_seen_not_to_be_public_is_refused_when_it_is_given() -> None:
    for host in ("127.0.0.1", "[::1]", "10.0.0.1", "localhost", "a.localhost", "169.254.169.254"):
        target = Target.of(f"https://{host}/")

        with pytest.raises(WebhookRefusedError, match="which is not public"):
            Addresses(allowed_hosts=frozenset()).check(target)
        Addresses(allowed_hosts=frozenset({target.host})).check(target)


def test_a_number_that_means_this_machine_is_refused_when_it_is_called() -> None:
    addresses = Addresses(allowed_hosts=frozenset())
    for host in ("2130706433", "0x7f000001", "0177.0.0.1", "127.1"):
        target = Target.of(f"http://{host}/")
        addresses.check(target)

        with pytest.raises(WebhookCallError, match=r"is 127\.0\.0\.1, which is not public"):
            addresses.of(target)


def _resolving(*answers: list[str]) -> Callable[..., list[tuple[object, ...]]]:
    """A `getaddrinfo` that gives these addresses, a list a call."""
    left = list(answers)

    def resolve(_host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", (address, port)) for address in left.pop(0)]

    return resolve


def test_a_host_with_one_address_that_is_not_public_is_not_called() -> None:
    addresses = Addresses(
        allowed_hosts=frozenset({"other"}), resolve=_resolving(["8.8.8.8", "10.0.0.1"])
    )

    with pytest.raises(WebhookCallError, match=r"is 10\.0\.0\.1, which is not public"):
        addresses.of(Target.of("http://hook.example/"))


def test_a_caller_does_not_learn_what_names_mean_in_the_gateways_network() -> None:
    def unknown(*_: object, **__: object) -> list[tuple[object, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    told = []
    for resolve in (_resolving(["10.0.0.1"]), unknown):
        addresses = Addresses(allowed_hosts=frozenset(), resolve=resolve)
        with pytest.raises(WebhookCallError) as caught:
            addresses.of(Target.of("http://db/"))
        told.append(caught.value.public_text)

    assert told[0] == told[1]
    assert "10.0.0.1" not in told[0]


def test_the_address_that_was_looked_at_is_called(receiver: Receiver) -> None:
    # A second look would find another one: what is asked twice may be answered twice.
    resolve = _resolving(["127.0.0.1"], ["10.0.0.1"])
    addresses = Addresses(allowed_hosts=frozenset({"hook.example"}), resolve=resolve)
    calls = WebhookCalls(addresses, tls=lambda: _NO_TLS)

    status = calls.post(Target.of(f"http://hook.example:{receiver.port}/x"), {"a": "b"}, b"{}")

    (call,) = receiver.calls
    assert (204, "/x", b"{}") == (status, call.path, call.body)
    assert (f"hook.example:{receiver.port}", "b") == (call.headers["host"], call.headers["a"])


@contextmanager
def _answering(
    *parts: bytes, pause_s: float = 0.0, tls: ssl.SSLContext | None = None
) -> Iterator[int]:
    """A server that sends these parts to each client; yields its port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(accepted: socket.socket) -> None:
        client = accepted if tls is None else tls.wrap_socket(accepted, server_side=True)
        with client:
            # All of it: to close with a rest unread takes the answer away.
            received = b""
            while not received.endswith(b"{}") and (some := client.recv(65536)):
                received += some
            for part in parts:
                client.sendall(part)
                time.sleep(pause_s)

    def serve() -> None:
        while True:
            try:
                accepted, _ = listener.accept()
            except OSError:
                return
            with accepted, contextlib.suppress(OSError):
                answer(accepted)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    with listener:
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(30)


def _calls(*, within_s: float = 10.0, tls: ssl.SSLContext = _NO_TLS) -> WebhookCalls:
    local = frozenset({"hook.example", "127.0.0.1"})
    addresses = Addresses(allowed_hosts=local, resolve=_resolving(*[["127.0.0.1"]] * 9))
    return WebhookCalls(addresses, within_s=within_s, tls=lambda: tls)


def test_an_answer_that_drips_ends_the_call_in_time() -> None:
    with (
        _answering(b"HTTP/1.1 200 OK\r\n", *[b"X: y\r\n"] * 100, pause_s=0.05) as port,
        pytest.raises(WebhookCallError, match=r"no answer within 0\.3 s"),
    ):
        _calls(within_s=0.3).post(Target.of(f"http://127.0.0.1:{port}/"), {}, b"{}")


def test_an_answer_without_end_is_not_read() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n"
    with _answering(head, *[bytes(65536)] * 1000) as port:
        assert 200 == _calls().post(Target.of(f"http://127.0.0.1:{port}/"), {}, b"{}")


@pytest.mark.parametrize(
    "answer", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 100_000]
)
def test_what_is_no_answer_is_an_error(answer: bytes) -> None:
    with _answering(answer) as port, pytest.raises(WebhookCallError, match="no answer"):
        _calls().post(Target.of(f"http://127.0.0.1:{port}/"), {}, b"{}")


def test_certificates_are_those_of_the_host_in_the_url() -> None:
    authority = trustme.CA()
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("hook.example").configure_cert(serving)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    with _answering(b"HTTP/1.1 204 No Content\r\n\r\n", tls=serving) as port:
        named, by_address = (
            Target.of(f"https://{host}:{port}/") for host in ("hook.example", "127.0.0.1")
        )
        assert 204 == _calls(tls=trusting).post(named, {}, b"{}")
        for target, tls in ((by_address, trusting), (named, httpcore2.default_ssl_context())):
            with pytest.raises(WebhookCallError, match="CERTIFICATE_VERIFY_FAILED"):
                _calls(tls=tls).post(target, {}, b"{}")
