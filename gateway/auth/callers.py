"""Who calls: found for every request from its `Authorization` header."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gateway.auth.principal import Principal
from gateway.auth.sessions import COOKIE
from gateway.deployment import Deployment

_READING = ("GET", "HEAD")
bearer = HTTPBearer(
    auto_error=False, description="An API key, which `fornada keys create` makes, or a token."
)


def deployment_of(request: Request) -> Deployment:
    """The deployment behind the gateway."""
    deployment: Deployment = request.app.state.deployment
    return deployment


async def _deployment(request: Request) -> Deployment:
    # A function that is not asynchronous costs a thread.
    return deployment_of(request)


TheDeployment = Annotated[Deployment, Depends(_deployment)]


async def caller(
    request: Request,
    deployment: TheDeployment,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(bearer)],
) -> Principal:
    """The caller of a request; one that only reads may come from a page of the console.

    Raises:
        UnauthenticatedError: It has no valid key or token.
        RateExceededError: The caller has made as many requests as it may.
    """
    if credentials is None:
        principal = await _of_session(request, deployment)
        if principal is not None:
            await run_in_threadpool(deployment.identity.rates.check, principal)
            return principal
    return await _caller(deployment, None if credentials is None else credentials.credentials)


async def caller_still(request: Request) -> Principal:
    """The caller of a request that is still being answered; a key may have been revoked.

    Raises:
        UnauthenticatedError: There is no valid key, token or session any more.
        StoreError: The store cannot be reached.
    """
    deployment = deployment_of(request)
    credential = _credential_of(request)
    if credential is None:
        principal = await _of_session(request, deployment)
        if principal is not None:
            return principal
    known = deployment.identity.known_caller(credential)
    if known is not None:
        return known
    return await run_in_threadpool(deployment.identity.principal_of, credential)


async def caller_of(request: Request) -> Principal:
    """The caller of a request whose endpoint reads it by itself.

    Raises:
        UnauthenticatedError, RateExceededError: As `caller`.
    """
    return await _caller(deployment_of(request), _credential_of(request))


def _credential_of(request: Request) -> str | None:
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    return credential if scheme.lower() == "bearer" and credential else None


async def _of_session(request: Request, deployment: Deployment) -> Principal | None:
    session = request.cookies.get(COOKIE)
    if session is None or request.method not in _READING:
        return None
    return await run_in_threadpool(deployment.sessions.principal_of, session)


async def _caller(deployment: Deployment, credential: str | None) -> Principal:
    known = deployment.identity.known_caller(credential)
    if known is not None:
        return known
    return await run_in_threadpool(deployment.identity.caller, credential)


Caller = Annotated[Principal, Depends(caller)]
