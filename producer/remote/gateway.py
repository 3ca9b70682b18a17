"""Requests to a gateway, whose problem documents become our errors."""

import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any, NamedTuple, Self
from urllib.parse import urlencode

import urllib3

from fornada import errors
from fornada.errors import ConfigError, FornadaError, UsageError
from fornada.settings import Settings

_CONNECT_S = 10.0
#: A gateway answers the rest of a request within this time, or shows that it lives.
_READ_S = 120.0
#: A stream of events has something this often, if only a comment.
_SILENT_S = 20.0
_CHUNK_BYTES = 1024 * 1024
#: The first status that is no success.
_FIRST_FAILURE = 300
_MOST_PROBLEM_BYTES = 1024 * 1024
_RETRIES = urllib3.Retry(
    total=3, status_forcelist=[502, 503, 504], backoff_factor=0.2, raise_on_status=False
)

_TIMEOUT = urllib3.Timeout(connect=_CONNECT_S, read=_READ_S)

Query = Mapping[str, str | int | None]


class GatewayError(FornadaError, ConnectionError, fault="transient"):
    """The gateway cannot be reached, or answers as no gateway does."""


class SilentError(GatewayError):
    """A stream of events is open and says nothing, as behind a proxy that keeps all for itself."""


class Event(NamedTuple):
    """A server-sent event whose data are JSON."""

    name: str
    data: Any


class Gateway:
    """A gateway's API. Safe to share between threads."""

    def __init__(self, *, url: str, api_key: str) -> None:
        self._url = url.rstrip("/")
        self._pool = urllib3.PoolManager(
            headers={"Authorization": f"Bearer {api_key}"},
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The gateway that `settings` name; makes no contact yet.

        Raises:
            ConfigError: There is no key for it.
        """
        if settings.url is None or settings.api_key is None:
            raise ConfigError(
                "FORNADA_URL is set and FORNADA_API_KEY is not; set it to a key that "
                "`fornada keys create` made"
            )
        return cls(url=settings.url, api_key=settings.api_key.get_secret_value())

    def get(self, path: str, query: Query | None = None) -> Any:
        """The JSON that a GET answers.

        Raises:
            FornadaError: As the gateway says; `GatewayError` if it cannot be reached.
        """
        return self._json("GET", path, query=query)

    def status(self, method: str, path: str) -> tuple[int, str]:
        """The status of an answer, and why it is no success.

        Raises:
            GatewayError: The gateway cannot be reached, or answers as none does.
        """
        answer = self._request(method, path, body=b"", retries=False, raises=False)
        if answer.status < _FIRST_FAILURE:
            answer.release_conn()
            return answer.status, ""
        error = self._error(answer, path)
        if isinstance(error, GatewayError):
            raise error
        return answer.status, str(error)

    def post(
        self, path: str, body: object = None, *, headers: Mapping[str, str] | None = None
    ) -> Any:
        """The JSON that a POST of JSON answers.

        Raises:
            FornadaError: As `get`.
        """
        data = b"" if body is None else json.dumps(body).encode()
        own = {} if body is None else {"Content-Type": "application/json"}
        return self._json("POST", path, body=data, headers={**own, **(headers or {})})

    def send(
        self,
        path: str,
        body: IO[bytes] | Iterable[bytes] | bytes,
        *,
        headers: Mapping[str, str],
        query: Query | None = None,
    ) -> Any:
        """The JSON that a POST of this body answers; it is streamed, and sent once.

        Raises:
            FornadaError: As `get`.
        """
        return self._json("POST", path, query=query, body=body, headers=headers, retries=False)

    def lines(self, path: str, body: bytes, *, media_type: str, query: Query) -> bytes:
        """The JSON lines that a POST of this body answers.

        Raises:
            FornadaError: As `get`.
        """
        headers = {"Content-Type": media_type, "Accept": "application/jsonl"}
        answer = self._request("POST", path, query=query, body=body, headers=headers)
        return answer.data

    def chunks(
        self, path: str, query: Query | None = None, *, accept: str | None = None
    ) -> Iterator[bytes]:
        """The body that a GET answers, as it comes.

        Raises:
            FornadaError: As `get`; also if it ends before it is whole.
        """
        headers = {} if accept is None else {"Accept": accept}
        answer = self._request("GET", path, query=query, headers=headers)
        try:
            yield from answer.stream(_CHUNK_BYTES)
        except urllib3.exceptions.HTTPError as exc:
            raise self._cut_off(path, exc) from exc
        finally:
            answer.release_conn()

    def events(self, path: str, *, timeout_s: float) -> Iterator[Event]:
        """The server-sent events of a GET as they come, until the stream ends or `timeout_s` pass.

        Raises:
            SilentError: Not even a comment comes.
            FornadaError: As `get`; also if the stream is cut off.
        """
        headers = {"Accept": "text/event-stream"}
        timeout = urllib3.Timeout(connect=_CONNECT_S, read=min(_SILENT_S, timeout_s))
        answer = self._request("GET", path, headers=headers, timeout=timeout, retries=False)
        # Comments keep reads from timing out.
        end = threading.Timer(timeout_s, answer.shutdown)
        end.daemon = True
        if timeout_s <= threading.TIMEOUT_MAX:
            end.start()
        name = ""
        try:
            for line in split_lines(answer.stream(_CHUNK_BYTES)):
                field, _, value = line.partition(b": ")
                if field == b"event":
                    name = value.decode()
                elif field == b"data":
                    yield Event(name, json.loads(value))
        except urllib3.exceptions.ReadTimeoutError as exc:
            raise SilentError(f"{self._url}{path} says nothing; ask again") from exc
        except ValueError as exc:
            raise self._no_gateway(path) from exc
        except urllib3.exceptions.HTTPError as exc:
            raise self._cut_off(path, exc) from exc
        finally:
            end.cancel()
            # The rest of a stream has no end to read to.
            answer.close()

    def _json(self, method: str, path: str, **request: Any) -> Any:
        answer = self._request(method, path, **request)
        try:
            return json.loads(answer.data) if answer.data else None
        except (ValueError, urllib3.exceptions.HTTPError) as exc:
            raise self._no_gateway(path) from exc

    def _request(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: IO[bytes] | Iterable[bytes] | bytes | None = None,
        headers: Mapping[str, str] | None = None,
        retries: urllib3.Retry | bool = _RETRIES,
        timeout: urllib3.Timeout = _TIMEOUT,
        raises: bool = True,
    ) -> urllib3.BaseHTTPResponse:
        given = {name: str(value) for name, value in (query or {}).items() if value is not None}
        address = f"{self._url}{path}"
        if given:
            address += f"?{urlencode(given)}"
        try:
            answer = self._pool.request(
                method,
                address,
                body=body,
                headers={**self._pool.headers, **(headers or {})},
                retries=retries,
                timeout=timeout,
                redirect=False,
                preload_content=False,
            )
        except urllib3.exceptions.ReadTimeoutError as exc:
            raise SilentError(f"{address} does not answer; ask again") from exc
        except urllib3.exceptions.HTTPError as exc:
            raise GatewayError(
                f"the gateway {self._url} cannot be reached ({_why(exc)}); check FORNADA_URL, and "
                "that a gateway runs there"
            ) from exc
        if raises and answer.status >= _FIRST_FAILURE:
            raise self._error(answer, path)
        return answer

    def _error(self, answer: urllib3.BaseHTTPResponse, path: str) -> FornadaError:
        try:
            problem = json.loads(answer.read(_MOST_PROBLEM_BYTES))
            code, detail = str(problem["code"]), str(problem["detail"])
        except (ValueError, KeyError, TypeError, urllib3.exceptions.HTTPError):
            return self._no_gateway(path, answer.status)
        finally:
            answer.release_conn()
        listed = [f"{e['where']}: {e['message']}" for e in problem.get("errors", [])]
        more = [each for each in listed[1:] if each not in detail]
        text = "; ".join([detail, *more])
        known = getattr(errors, code, None)
        if isinstance(known, type) and issubclass(known, FornadaError):
            return known(text)
        # Of the request itself, or of a later release.
        is_ours = answer.status < 500  # noqa: PLR2004 - the first status of a server's fault
        return UsageError(text) if is_ours else GatewayError(text)

    def _cut_off(self, path: str, exc: Exception) -> GatewayError:
        return GatewayError(f"the answer of {self._url}{path} was cut off ({exc}); ask again")

    def _no_gateway(self, path: str, status: int | None = None) -> GatewayError:
        said = "" if status is None else f" with status {status}"
        return GatewayError(
            f"{self._url}{path} answers as no gateway does{said}; check FORNADA_URL"
        )


def _why(exc: urllib3.exceptions.HTTPError) -> str:
    reason = getattr(exc, "reason", None)
    return str(reason or exc).rpartition(": ")[2]


def split_lines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The lines of a body that are not empty, each once it is whole."""
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        yield from filter(None, lines)
    if rest:
        yield rest
