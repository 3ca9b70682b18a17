"""Why a caller is refused."""

from fornada.errors import FornadaError


class UnauthenticatedError(FornadaError, PermissionError, fault="caller", http_status=401):
    """The request has no valid key or token."""


class ForbiddenError(FornadaError, PermissionError, fault="caller", http_status=403):
    """The key does not allow the request."""


class RateExceededError(FornadaError, fault="transient", http_status=429):
    """The key has made as many requests, or has as many open items, as it may."""
