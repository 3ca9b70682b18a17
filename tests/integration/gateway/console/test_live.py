"""The console on real servers: a worker computes while somebody looks."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect

from fornada.local.stack import Stack
from gateway.app import create_app
from gateway.auth.scopes import Scope
from gateway.deployment import Deployment
from model_store.testing import publish_for_test
from producer.submitting.submission import Options

from ....deployment import own_environ
from .browsers import barriers_on, chromium, complaints_of, served


@pytest.mark.slow
def test_a_worker_is_watched_while_it_computes(tmp_path: Path) -> None:
    environ = {**own_environ(), "FORNADA_ENGINE": "test"}
    items = np.random.default_rng(0).integers(0, 256, (4000, 28, 28), np.uint8)
    with Stack(data_dir=tmp_path, workers=1, environ=environ) as stack:
        deployment = Deployment.from_settings(stack.settings)
        publish_for_test(deployment.models, item_shape=[28, 28], classes=["a", "b", "c"])
        _, key = deployment.identity.api_keys.create("shop", scopes=list(Scope))
        with served(create_app(deployment)) as address, chromium() as browser:
            page = browser.new_page(base_url=address)
            complaints = complaints_of(page)
            page.goto("/login?next=/workers")
            page.get_by_label("API key").fill(key)
            page.get_by_role("button", name="Log in").click()
            expect(page.locator("[id^=worker-]")).to_contain_text("test 1")

            options = Options(model="m", items_per_shard=40, owner="shop")
            (job,) = deployment.client.submit_with([items], options)
            page.goto(f"/jobs/{job.id}")
            expect(page.locator(".heading .state")).to_have_text("Succeeded", timeout=60_000)
            expect(page.locator(".legend .shard-d b")).to_have_text("100")
            expect(page.locator("#stages tbody th").first).to_have_text("fetch")
            expect(page.locator("#gallery figure")).to_have_count(8)
            expect(page.locator("#gallery img").first).to_have_js_property("naturalWidth", 28)
            page.get_by_label("Colour by").select_option("attempts")
            page.locator(".map canvas").hover(position={"x": 5, "y": 5})
            expect(page.locator("[data-pointed]")).to_contain_text("Shard 0: done")
            with page.expect_download() as download:
                page.locator("summary").click()
                page.get_by_role("link", name="Results as csv").click()

            results = Path(download.value.path()).read_text()
            assert (4001, []) == (len(results.splitlines()), barriers_on(page))
            assert [] == complaints
            page.close()
