"""How long Hypothesis looks for faults: HYPOTHESIS_PROFILE=soak for as long as it is worth."""

from hypothesis import HealthCheck, Phase, settings

# Fixed examples: a run of the tests finds the same twice, and a soak finds others.
settings.register_profile(
    "faults",
    max_examples=120,
    stateful_step_count=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
settings.register_profile(
    "soak",
    parent=settings.get_profile("faults"),
    max_examples=1000,
    stateful_step_count=80,
    derandomize=False,
)
# The first fault is enough: whether there is one, not how it is told in the fewest steps.
settings.register_profile(
    "mutation",
    parent=settings.get_profile("faults"),
    max_examples=40,
    phases=[Phase.generate],
)
