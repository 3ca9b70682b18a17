"""A store that accepts connections and never answers, as one whose processes are stopped."""

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

import httpx2
import pytest
from pydantic import SecretStr

from fornada.settings import Settings
from gateway.app import create_app
from gateway.deployment import Deployment

from .serving import served

pytestmark = pytest.mark.slow

_KEY = "k" * 32
#: More than the gateway has threads.
_CLIENTS = 60
_ITEMS = {"model": "m", "input": {"type": "inline", "items": [[0, 0]]}}


@pytest.fixture
def url(settings: Settings) -> Iterator[str]:
    """A gateway in front of such a store, and of a Redis that answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as silent:
        changed = {
            "s3_endpoint_url": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "api_key": SecretStr(_KEY),
        }
        deployment = Deployment.from_settings(settings.model_copy(update=changed))
        with served(create_app(deployment)) as url:
            yield url
            # Whatever still waits for it ends now.
            silent.close()


def test_requests_are_answered_soon_and_the_gateway_lives(url: str) -> None:
    with httpx2.Client(
        base_url=url, headers={"Authorization": f"Bearer {_KEY}"}, timeout=60
    ) as http:

        def ask(number: int) -> tuple[int, str | None, float]:
            began_s = time.monotonic()
            if number % 3:
                answer = http.get(("/v1/jobs", "/v1/jobs/x")[number % 2])
            else:
                answer = http.post("/v1/jobs", json=_ITEMS)
            return answer.status_code, answer.headers.get("Retry-After"), time.monotonic() - began_s

        with ThreadPoolExecutor(_CLIENTS) as pool:
            asked = [pool.submit(ask, number) for number in range(_CLIENTS)]
            healthy_s = []
            for _ in range(20):
                began_s = time.monotonic()
                assert HTTPStatus.OK == http.get("/healthz").status_code
                healthy_s.append(time.monotonic() - began_s)
                time.sleep(0.1)
            answers = [each.result() for each in asked]
        last = ask(1)

    assert {(HTTPStatus.SERVICE_UNAVAILABLE, "1")} == {answer[:2] for answer in answers}
    assert max(took_s for _, _, took_s in answers) < 15, answers
    assert max(healthy_s) < 2, healthy_s
    assert (HTTPStatus.SERVICE_UNAVAILABLE, True) == (last[0], last[2] < 10)
