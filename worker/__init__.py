"""The consumer: takes shards from the queue, predicts them, commits their outcomes."""

from fornada.imports import imports_blocked

# structlog imports Rich if it can, which no worker needs: a fifth of the time until the supervisor
# starts its first process.
with imports_blocked(("rich",)):
    import structlog  # noqa: F401 - imported for this effect
