"""A deployment a module to break, and how long Hypothesis looks for faults (HYPOTHESIS_PROFILE)."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from .deployment import Deployment, deployed
from .fault_control import FaultControl

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
    max_examples=4000,
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


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> FaultControl:
    """Arms points in this module's workers; knows who died there, and what was written."""
    return FaultControl(tmp_path_factory.mktemp("fault-points"))


@pytest.fixture(scope="module")
def worker_environ() -> dict[str, str]:
    """More of the workers' environment; a module may have its own."""
    return {}


@pytest.fixture(scope="module")
def module_deployment(
    tmp_path_factory: pytest.TempPathFactory, faults: FaultControl, worker_environ: dict[str, str]
) -> Iterator[Deployment]:
    """Servers and workers of this module's own."""
    environ = {**faults.environ, **worker_environ}
    with deployed(tmp_path_factory.mktemp("deployment"), environ=environ) as deployment:
        yield deployment


@pytest.fixture
def deployment(
    module_deployment: Deployment, faults: FaultControl, wait_until: Callable[..., None]
) -> Iterator[Deployment]:
    """Whole again, whatever the test before has done to it."""
    module_deployment.wait_until_ready(wait_until)
    yield module_deployment
    faults.disarm()
