"""Why a webhook is refused, or a call of one failed."""

from http import HTTPStatus

from fornada.errors import ConfigError, FornadaError


class WebhookRefusedError(
    FornadaError, ValueError, fault="caller", http_status=HTTPStatus.UNPROCESSABLE_ENTITY
):
    """The URL or the secret of a webhook is not one that is taken."""


class WebhooksOffError(ConfigError, fault="caller", http_status=HTTPStatus.NOT_IMPLEMENTED):
    """The gateway has no key with which it could keep the secrets of webhooks."""


class WebhookNotFoundError(
    FornadaError, LookupError, fault="caller", http_status=HTTPStatus.NOT_FOUND
):
    """The job has no webhook."""


class WebhookCallError(FornadaError, ConnectionError, fault="transient"):
    """A webhook could not be called, or did not answer."""
