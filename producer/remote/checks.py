"""What `fornada doctor` checks of a gateway: that it answers, and what the key allows."""

from collections.abc import Iterator
from http import HTTPStatus

from fornada.commands.doctor.finding import Finding
from fornada.settings import Settings
from producer.remote.gateway import Gateway

#: Scope -> a request that does nothing, and is refused with 403 without it.
_ASKED = {
    "jobs:read": ("GET", "/v1/jobs?limit=1"),
    "jobs:write": ("POST", "/v1/jobs/no-such-job/cancel"),
    "results:read": ("GET", "/v1/jobs/no-such-job/errors"),
    "predict": ("POST", "/v1/models/no-such-model/predict"),
    "models:read": ("GET", "/v1/models/no-such-model"),
    "models:write": ("POST", "/v1/models/no-such-model/aliases/none/rollback"),
}


def gateway_checks(settings: Settings) -> Iterator[Finding]:
    """Whether the gateway and what is behind it answer, and what the key allows.

    Raises:
        FornadaError: The gateway cannot be reached, or there is no key for it.
    """
    gateway = Gateway.from_settings(settings)
    yield Finding("settings", "ok", f"gateway {settings.url}")
    status, why = gateway.status("GET", "/readyz")
    behind = "Redis and the store answer it" if status == HTTPStatus.OK else why
    yield Finding("gateway", "ok" if status == HTTPStatus.OK else "fail", f"it answers; {behind}")
    allowed: list[str] = []
    for scope, (method, path) in _ASKED.items():
        status, why = gateway.status(method, path)
        if status == HTTPStatus.UNAUTHORIZED:
            yield Finding("key", "fail", why)
            return
        if status != HTTPStatus.FORBIDDEN:
            allowed.append(scope)
    denied = [scope for scope in _ASKED if scope not in allowed]
    without = f", and not {', '.join(denied)}" if denied else ""
    yield Finding(
        "key", "ok" if allowed else "fail", f"it allows {', '.join(allowed) or 'nothing'}{without}"
    )
