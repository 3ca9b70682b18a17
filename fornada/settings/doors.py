"""Settings of the HTTP gateway, and of those who call it."""

from pydantic import BaseModel, Field, SecretStr

from fornada.errors import ConfigError
from fornada.settings.patterns import URL

#: One of them is set wherever a deployment is meant.
_OF_DEPLOYMENT = {
    "redis_url",
    "s3_endpoint_url",
    "s3_bucket",
    "s3_region",
    "s3_access_key_id",
}


class DoorSettings(BaseModel):
    """What the gateway and its callers read; part of `Settings`."""

    url: str | None = Field(
        default=None,
        pattern=URL,
        description="A gateway, such as https://inference.example.com. Set, `fornada submit`, "
        "`jobs`, `predict` and `models list` go through it, and reach neither Redis nor the store; "
        "`doctor` checks it.",
    )
    api_key: SecretStr | None = Field(
        default=None,
        description="The API key that commands send to FORNADA_URL. On a gateway: the key of its "
        "administrator, 32 characters or more; make one with `openssl rand -hex 32`.",
    )
    gateway_hosts: str | None = Field(
        default=None,
        description="Names by which browsers and services reach the gateway, with commas between: "
        "`inference.example.com`. Requests for other hosts are refused. Unset: loopback alone.",
    )
    s3_public_endpoint_url: str | None = Field(
        default=None,
        pattern=URL,
        description="The store as the gateway's callers reach it, for upload URLs. Unset: "
        "FORNADA_S3_ENDPOINT_URL.",
    )
    jwt_issuer: str | None = Field(
        default=None,
        description="The issuer of tokens that the gateway accepts beside API keys (OIDC).",
    )
    jwt_audience: str | None = Field(
        default=None, description="The audience that such a token has to name."
    )
    jwt_jwks_url: str | None = Field(
        default=None,
        pattern=URL,
        description="Where the issuer's public keys are. Unset: as its "
        "`/.well-known/openid-configuration` says.",
    )
    webhook_hosts: str | None = Field(
        default=None,
        description="Hosts with private addresses that webhooks may call, with commas between. "
        "Unset: public addresses alone.",
    )

    @property
    def names_only_a_gateway(self) -> bool:
        """Whether they name a gateway, and nothing of a deployment."""
        return self.url is not None and not _OF_DEPLOYMENT & self.model_fields_set

    def require_deployment(self, what: str) -> None:
        """Check that they name a deployment, and not only a gateway in front of one.

        Args:
            what: Reaches Redis or the store itself.

        Raises:
            ConfigError: They name a gateway alone.
        """
        if self.names_only_a_gateway:
            raise ConfigError(
                f"{what} reaches Redis and the store itself, and FORNADA_URL names a gateway "
                "alone; set FORNADA_REDIS_URL and FORNADA_S3_*, or use what a gateway offers: "
                "docs/gateway.md"
            )
