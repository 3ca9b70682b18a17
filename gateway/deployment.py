"""The deployment behind a gateway: all that its endpoints reach, opened once."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from fornada.coordination.redis import RedisCoordination
from fornada.events import LOGGED, Events
from fornada.jobs.store import JobStore
from fornada.jobs.upkeep.manifest_cache import Manifests
from fornada.queue.celery_queue import CelerySender
from fornada.settings import Settings
from fornada.storage.interface import ObjectStore
from fornada.storage.opening import open_store
from fornada.storage.reporting import ReportingStore
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

if TYPE_CHECKING:
    # Imports an optional package.
    from fornada.metrics.process import ProcessMetrics

_KEPT_MANIFESTS = 512


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
    #: Of the jobs that were looked at last, read once for pages and for reconcilers.
    manifests: Manifests
    webhooks: Webhooks
    #: Keep jobs going where no worker runs; none in front of a deployment in memory.
    reconcilers: HostedReconcilers | None = None
    #: Counts what happens, if that is asked for.
    metrics: "ProcessMetrics | None" = None
    #: Hear what happens.
    events: Events = LOGGED

    @classmethod
    def of(
        cls,
        settings: Settings,
        *,
        objects: ObjectStore,
        client: Client,
        identity: Identity,
        manifests: Manifests | None = None,
        reconcilers: HostedReconcilers | None = None,
        metrics: "ProcessMetrics | None" = None,
    ) -> Self:
        """The deployment whose store, client and callers are given."""
        events = heard_by(metrics)
        return cls(
            settings=settings,
            objects=objects,
            client=client,
            async_client=AsyncClient(client),
            models=ModelStore(objects=objects),
            identity=identity,
            quotas=Quotas(client=client),
            backlogs=Backlogs(client),
            sessions=Sessions(settings=settings, objects=objects, identity=identity),
            prefixes=InputPrefixes.from_settings(settings),
            manifests=manifests or _manifests_of(objects),
            webhooks=Webhooks.of(
                settings, objects=objects, coordination=client.coordination, events=events
            ),
            reconcilers=reconcilers,
            metrics=metrics,
            events=events,
        )

    @classmethod
    def from_settings(cls, settings: Settings, *, metrics: "ProcessMetrics | None" = None) -> Self:
        """The deployment that `settings` name; nothing is contacted yet."""
        events = heard_by(metrics)
        waited_for = WaitedForStore(
            open_store(settings), fails_soon=open_store(settings, fails_soon=True)
        )
        objects = ReportingStore(waited_for, events=events)
        client = Client(
            objects=objects,
            coordination=RedisCoordination.from_settings(settings),
            sender=CelerySender.from_settings(settings),
            settings=settings,
        )
        identity = Identity.from_settings(settings, api_keys=ApiKeys(objects=objects))
        manifests = _manifests_of(objects)
        return cls.of(
            settings,
            objects=objects,
            client=client,
            identity=identity,
            manifests=manifests,
            reconcilers=HostedReconcilers.from_settings(
                settings,
                objects=objects,
                manifests=manifests,
                events=events,
                counts_backlogs=metrics is not None,
            ),
            metrics=metrics,
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


def heard_by(metrics: "ProcessMetrics | None") -> Events:
    """What is told to the log, and to metrics if there are any."""
    return LOGGED if metrics is None else Events(LOGGED.tell, metrics.hear)


def _manifests_of(objects: ObjectStore) -> Manifests:
    return Manifests(jobs=JobStore(objects=objects), kept_jobs=_KEPT_MANIFESTS)
