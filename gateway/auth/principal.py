"""The caller of a request, and what it may do."""

from collections.abc import Sequence
from dataclasses import dataclass

from fornada.errors import JobNotFoundError
from fornada.jobs.manifest import JobManifest
from fornada.trust.input_prefixes import InputPrefixes
from gateway.auth.errors import ForbiddenError
from gateway.auth.scopes import Scope


@dataclass(frozen=True, kw_only=True, slots=True)
class Principal:
    """Who calls, as a key or a token says."""

    #: The owner of the jobs that it submits; a name that may be part of a key.
    owner: str
    scopes: frozenset[Scope]
    #: Where its jobs may read inputs in the store, such as `s3://photos/2026/`; an admin's may read
    #: all that the deployment lets jobs read.
    prefixes: Sequence[str] = ()
    #: The queues whose jobs it may see and make; `None` for all.
    queues: Sequence[str] | None = None
    #: Requests, as `limits` writes it: `100/second`.
    rate: str | None = None
    #: Items in open jobs, at most.
    open_items: int | None = None

    @property
    def is_admin(self) -> bool:
        """Whether it may do all, with the jobs of others too."""
        return Scope.ADMIN in self.scopes

    def may(self, scope: Scope) -> bool:
        """Whether it may do what `scope` allows."""
        return scope in self.scopes or self.is_admin

    def require(self, scope: Scope) -> None:
        """Check that it may do what `scope` allows.

        Raises:
            ForbiddenError: It may not.
        """
        if not self.may(scope):
            raise ForbiddenError(
                f"key {self.owner} has no scope {scope}; make a key with it, "
                f"`fornada keys create NAME --scope {scope}`"
            )

    def may_see_listed(self, manifest: JobManifest | None) -> bool:
        """Whether it may see a job that is listed for its owner; `None` of one UNREADABLE."""
        if manifest is None:
            # Which queue it is in, nobody knows.
            return self.is_admin or self.queues is None
        return self.may_see(manifest)

    def may_see(self, manifest: JobManifest) -> bool:
        """Whether it may see the job."""
        own = manifest.owner == self.owner
        seen = self.queues is None or manifest.queue_name in self.queues
        return self.is_admin or (own and seen)

    def require_job(self, manifest: JobManifest) -> None:
        """Check that it may see the job.

        Raises:
            JobNotFoundError: It may not; whether there is such a job is not said.
        """
        if not self.may_see(manifest):
            raise JobNotFoundError(
                f"key {self.owner} has no job {manifest.job_id}; see GET /v1/jobs"
            )

    def require_queue(self, queue: str) -> None:
        """Check that it may make jobs for the queue.

        Raises:
            ForbiddenError: It may not.
        """
        if not self.is_admin and self.queues is not None and queue not in self.queues:
            raise ForbiddenError(
                f"key {self.owner} may not use queue {queue}, only {', '.join(self.queues)}; make "
                f"a key with it, `fornada keys create NAME --queue {queue}`"
            )

    def narrowed(self, prefixes: InputPrefixes) -> InputPrefixes:
        """Those of `prefixes`, where the deployment's jobs may read, that its own may."""
        return prefixes if self.is_admin else prefixes.narrowed(self.prefixes)
