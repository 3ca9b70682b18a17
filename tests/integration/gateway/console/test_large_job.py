"""A job of very many shards on real servers, in a browser."""

import pytest
from playwright.sync_api import expect

from benchmarks.console_page import write_large_job
from fornada.coordination.interface import ShardEnd
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore
from gateway.app import create_app
from gateway.auth.api_keys import ApiKeys
from gateway.auth.identity import Identity
from gateway.auth.rates import Rates
from gateway.auth.scopes import Scope
from gateway.deployment import Deployment
from producer.client import Client

from .browsers import chromium, served

SHARDS = 100_000


@pytest.mark.soak
def test_a_job_of_100_000_shards_opens_and_stays_live(settings: Settings) -> None:
    job_id = write_large_job(settings, SHARDS)
    objects = S3ObjectStore.from_settings(settings)
    client = Client.from_settings(settings)
    identity = Identity(api_keys=ApiKeys(objects=objects), rates=Rates.in_memory())
    deployment = Deployment.of(settings, objects=objects, client=client, identity=identity)
    _, key = identity.api_keys.create("shop", scopes=list(Scope))

    with served(create_app(deployment)) as address, chromium() as browser:
        page = browser.new_page(base_url=address)
        page.set_default_timeout(120_000)
        page.goto("/login")
        page.get_by_label("API key").fill(key)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("link", name=job_id).click()

        done = page.locator(".legend .shard-d b")
        expect(done).to_have_text("49,500", timeout=120_000)
        page.wait_for_function("document.querySelector('.map canvas').height > 1")
        # Nobody loads the page again.
        client.coordination.mark_done(job_id, [ShardEnd(n) for n in range(50_000, 60_000)])
        expect(done).to_have_text("59,500", timeout=120_000)
        expect(page.locator(".tiles")).to_contain_text("Items done60,000")
        client.job(job_id).cancel()
        expect(page.locator(".heading .state")).to_have_text("Cancelled", timeout=120_000)
