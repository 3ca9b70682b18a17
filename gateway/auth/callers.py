"""Who calls: found for every request from its `Authorization` header."""

from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from gateway.auth.errors import UnauthenticatedError
from gateway.auth.principal import Principal
from gateway.deployment import Deployment

_bearer = HTTPBearer(
    auto_error=False, description="An API key, which `fornada keys create` makes, or a token."
)


def deployment_of(request: Request) -> Deployment:
    """The deployment behind the gateway."""
    deployment: Deployment = request.app.state.deployment
    return deployment


TheDeployment = Annotated[Deployment, Depends(deployment_of)]


def caller(
    deployment: TheDeployment,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Principal:
    """The caller of a request.

    Raises:
        UnauthenticatedError: It has no valid key.
    """
    if credentials is None:
        raise UnauthenticatedError(
            "the request has no key; send `Authorization: Bearer KEY` with a key that "
            "`fornada keys create` made"
        )
    return deployment.api_keys.principal_of(credentials.credentials)


Caller = Annotated[Principal, Depends(caller)]
