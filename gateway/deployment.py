"""The deployment behind a gateway: all that its endpoints reach, opened once."""

from dataclasses import dataclass
from typing import Self

from fornada.coordination.redis import RedisCoordination
from fornada.queue.celery_queue import CelerySender
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.opening import open_store
from fornada.trust.input_prefixes import InputPrefixes
from gateway.auth.api_keys import ApiKeys
from gateway.auth.identity import Identity
from gateway.auth.quotas import Quotas
from gateway.auth.sessions import Sessions
from gateway.backlogs import Backlogs
from gateway.http.origins import LOOPBACK_HOSTS
from gateway.reconcilers import HostedReconcilers
from gateway.waited_for import WaitedForStore
from gateway.webhooks.service import Webhooks
from model_store.store import ModelStore
from producer.asynchronous.client import AsyncClient
from producer.client import Client


@dataclass(frozen=True, kw_only=True, slots=True)
class Deployment:
    """What the endpoints reach. Safe to share between threads."""

    settings: Settings
    objects: ObjectStore
    client: Client
    #: The same for the endpoints that run in the event loop.
    async_client: AsyncClient
    models: ModelStore
    identity: Identity
    quotas: Quotas
    backlogs: Backlogs
    sessions: Sessions
    prefixes: InputPrefixes
    webhooks: Webhooks
    #: Keep jobs going where no worker runs; none in front of a deployment in memory.
    reconcilers: HostedReconcilers | None = None

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        objects: ObjectStore,
        client: Client,
        identity: Identity,
        reconcilers: HostedReconcilers | None = None,
    ) -> Self:
        """The deployment whose store, client and callers are given."""
        return cls(
            settings=settings,
            objects=objects,
            client=client,
            async_client=AsyncClient(client),
            models=ModelStore(objects=objects),
            identity=identity,
            quotas=Quotas(client=client),
            backlogs=Backlogs(client=client, objects=objects),
            sessions=Sessions(settings=settings, objects=objects, identity=identity),
            prefixes=InputPrefixes.from_settings(settings),
            webhooks=Webhooks.of(settings, objects=objects, coordination=client.coordination),
            reconcilers=reconcilers,
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """The deployment that `settings` name; nothing is contacted yet."""
        objects = WaitedForStore(
            open_store(settings), fails_soon=open_store(settings, fails_soon=True)
        )
        client = Client(
            objects=objects,
            coordination=RedisCoordination.from_settings(settings),
            sender=CelerySender.from_settings(settings),
            settings=settings,
        )
        identity = Identity.from_settings(settings, api_keys=ApiKeys(objects=objects))
        return cls.of(
            settings,
            objects=objects,
            client=client,
            identity=identity,
            reconcilers=HostedReconcilers.from_settings(settings, objects=objects),
        )

    def exact_model(self, model: str | None) -> str | None:
        """`model`, with the version that it points to in place of an alias.

        Raises:
            ModelNotFoundError: There is no such model or alias.
        """
        return str(self.models.resolve(model)) if model and "@" in model else model

    @property
    def hosts(self) -> list[str]:
        """Names by which browsers and services reach the gateway."""
        named = self.settings.gateway_hosts
        return list(LOOPBACK_HOSTS) if named is None else [n.strip() for n in named.split(",")]
