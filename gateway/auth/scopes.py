"""The scopes of a key: what its caller may do."""

from enum import StrEnum


class Scope(StrEnum):
    """What a key allows; `admin` allows all, and the jobs of others."""

    JOBS_READ = "jobs:read"
    JOBS_WRITE = "jobs:write"
    RESULTS_READ = "results:read"
    PREDICT = "predict"
    MODELS_READ = "models:read"
    MODELS_WRITE = "models:write"
    METRICS_READ = "metrics:read"
    ADMIN = "admin"
