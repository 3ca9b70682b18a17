"""One deployment a file to break, and Hypothesis profiles (HYPOTHESIS_PROFILE)."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, Phase, settings

from .rig.checker import OutcomeHistory
from .rig.deployment import Deployment, deployed
from .rig.fault_control import FaultControl

# `make test` repeats the same examples; a soak searches for others.
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
# A mutation is found by any failure; there is no need to shrink it.
settings.register_profile(
    "mutation",
    parent=settings.get_profile("faults"),
    max_examples=200,
    phases=[Phase.generate],
)


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> FaultControl:
    """The fault points of this file's workers."""
    return FaultControl(tmp_path_factory.mktemp("fault-points"))


@pytest.fixture(scope="module")
def worker_environ() -> dict[str, str]:
    """Additions to the workers' environment; a file may override them."""
    return {}


@pytest.fixture(scope="module")
def module_deployment(
    tmp_path_factory: pytest.TempPathFactory, faults: FaultControl, worker_environ: dict[str, str]
) -> Iterator[Deployment]:
    """Servers and workers for this file."""
    environ = {**faults.environ, **worker_environ}
    with deployed(tmp_path_factory.mktemp("deployment"), environ=environ) as deployment:
        yield deployment


@pytest.fixture
def deployment(
    module_deployment: Deployment, faults: FaultControl, wait_until: Callable[..., None]
) -> Iterator[Deployment]:
    """The file's deployment, whole again after the test before."""
    module_deployment.wait_until_ready(wait_until)
    yield module_deployment
    faults.disarm()


@pytest.fixture
def history(module_deployment: Deployment) -> OutcomeHistory:
    """Every version of committed objects that the test observes."""
    return OutcomeHistory(module_deployment.objects)
