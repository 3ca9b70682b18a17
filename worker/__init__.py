"""The consumer: takes shards from the queue, predicts them, commits their outcomes."""

from fornada.imports import imports_blocked

# structlog imports Rich where it can, for what no worker asks of it: a fifth of the time until
# the supervisor has started the first process.
with imports_blocked(("rich",)):
    import structlog  # noqa: F401 - for this alone
