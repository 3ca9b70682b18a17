"""What several tests of deploy/ look at: the manifests, and the gateway's API."""

from typing import Any

import pytest

from fornada.settings import Settings
from gateway.app import create_app
from gateway.deployment import Deployment

from .manifests import Rendered, render_all


@pytest.fixture(scope="module")
def rendered() -> Rendered:
    return render_all()


@pytest.fixture(scope="module")
def gateway_api() -> dict[str, Any]:
    return create_app(Deployment.from_settings(Settings())).openapi()
