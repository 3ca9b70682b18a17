"""Webhooks tell the ends of jobs: signed, again until they are taken, and by any gateway."""

import base64
import json
import socket
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr
from standardwebhooks import Webhook, WebhookVerificationError

from fornada import keys
from fornada.keys import gateway as gateway_keys
from fornada.trust.deployment_keys import new_key
from gateway.webhooks import calls, deliveries, dispatcher

from ..console.conftest import form_token_in, log_in
from .conftest import BODY, Gateways, Submit
from .receiver import Receiver

WaitUntil = Callable[..., None]
OWN_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(autouse=True)
def _quick_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deliveries, "RETRY_AFTER_S", (0.05, 0.1, 0.2, 0.2))


def test_the_end_of_a_job_is_told_once_and_signed(
    gateways: Gateways, receiver: Receiver, submit: Submit, wait_until: WaitUntil
) -> None:
    caller = gateways.add()
    job = submit(caller).json()
    path = f"/v1/jobs/{job['id']}"
    assert "waiting" == caller.get(f"{path}/webhook").json()["state"]

    caller.post(f"{path}/cancel")
    wait_until(lambda: caller.get(f"{path}/webhook").json()["state"] == "delivered")

    (call,) = receiver.calls
    assert "/hook?of=shop" == call.path
    assert f"127.0.0.1:{receiver.port}" == call.headers["host"]
    told = Webhook(job["webhook"]["secret"]).verify(call.body, call.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(job["webhook"]["secret"]).verify(call.body + b" ", call.headers)
    ended_at = caller.get(path).json()["ended_at"]
    assert {
        "type": "job.ended",
        "timestamp": ended_at,
        "data": {
            "id": job["id"],
            "state": "CANCELLED",
            "counts": {"ok": 0, "failed": 0},
            "reason": "cancelled by shop",
            "started_at": None,
            "ended_at": ended_at,
            "links": job["links"],
        },
    } == told
    shown = caller.get(f"{path}/webhook").json()
    assert call.headers["webhook-id"] == shown["id"]
    assert [(204, None)] == [(each["status"], each["error"]) for each in shown["attempts"]]
    assert [] == list(gateways.objects.list(gateway_keys.WEBHOOKS_PENDING_PREFIX))


def test_secrets_are_shown_once_and_kept_sealed(
    gateways: Gateways,
    receiver: Receiver,
    submit: Submit,
    wait_until: WaitUntil,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caller = gateways.add()
    made = submit(caller).json()
    given = submit(caller, secret=OWN_SECRET).json()
    assert OWN_SECRET == given["webhook"]["secret"] != made["webhook"]["secret"]

    for job in (made, given):
        caller.post(f"/v1/jobs/{job['id']}/cancel")
    wait_until(lambda: len(receiver.calls) == 2)

    shown = [
        caller.get(f"/v1/jobs/{job['id']}{path}").text
        for job in (made, given)
        for path in ("", "/webhook")
    ]
    stored = [
        gateways.objects.get(info.key).data.decode("latin1") for info in gateways.objects.list("")
    ]
    for secret in (made["webhook"]["secret"], OWN_SECRET):
        key = base64.b64decode(secret.removeprefix("whsec_")).decode("latin1")
        for form in (secret, secret.removeprefix("whsec_"), key):
            assert [] == [text for text in [*shown, *stored, *capsys.readouterr()] if form in text]


def test_a_receiver_that_fails_is_called_again_until_it_takes_it(
    gateways: Gateways,
    receiver: Receiver,
    submit: Submit,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    defaults = calls.WebhookCalls.__init__.__kwdefaults__
    monkeypatch.setitem(defaults, "within_s", 2.0)
    receiver.statuses = [500, 302, None, 404]
    caller = gateways.add()
    job = submit(caller).json()
    path = f"/v1/jobs/{job['id']}/webhook"

    caller.post(f"/v1/jobs/{job['id']}/cancel")
    wait_until(lambda: caller.get(path).json()["state"] == "delivered")

    attempts = caller.get(path).json()["attempts"]
    assert [500, 302, None, 404, 204] == [each["status"] for each in attempts]
    assert "no answer within 2 s" == attempts[2]["error"]
    assert "redirects are not followed" == attempts[1]["error"]
    # No redirect was followed, and a receiver knows them as the same.
    assert {"/hook?of=shop"} == {call.path for call in receiver.calls}
    assert 1 == len({call.headers["webhook-id"] for call in receiver.calls})


@pytest.mark.slow
def test_a_receiver_that_is_down_is_told_once_it_is_up(
    gateways: Gateways, wait_until: WaitUntil
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    caller = gateways.add()
    asked = {**BODY, "webhook": {"url": f"http://127.0.0.1:{port}/"}}
    job = caller.post("/v1/jobs", json=asked).json()
    path = f"/v1/jobs/{job['id']}/webhook"
    caller.post(f"/v1/jobs/{job['id']}/cancel")
    wait_until(lambda: caller.get(path).json()["attempts"])

    with Receiver(port).running() as receiver:
        if caller.get(path).json()["state"] == "given up":
            caller.post(f"{path}/redeliver")
        wait_until(lambda: caller.get(path).json()["state"] == "delivered")

    assert 1 == len(receiver.calls)
    assert "no answer" in caller.get(path).json()["attempts"][0]["error"]


def test_a_receiver_that_wants_no_more_is_told_no_more_but_by_hand(
    gateways: Gateways, receiver: Receiver, submit: Submit, wait_until: WaitUntil
) -> None:
    receiver.statuses = [410, 500]
    caller = gateways.add()
    job = submit(caller).json()
    path = f"/v1/jobs/{job['id']}/webhook"
    early = caller.post(f"{path}/redeliver")
    assert (409, "JobNotFinishedError") == (early.status_code, early.json()["code"])

    caller.post(f"/v1/jobs/{job['id']}/cancel")
    wait_until(lambda: caller.get(path).json()["state"] == "gone")
    assert 202 == caller.post(f"{path}/redeliver").status_code
    wait_until(lambda: caller.get(path).json()["state"] == "delivered")

    assert [410, 500, 204] == [each["status"] for each in caller.get(path).json()["attempts"]]


def test_a_request_sent_again_has_the_same_webhook_and_the_same_secret(
    gateways: Gateways, receiver: Receiver, submit: Submit, wait_until: WaitUntil
) -> None:
    caller = gateways.add()
    first = submit(caller, key="order-1").json()
    again = submit(caller, key="order-1").json()
    assert (first["id"], first["webhook"]) == (again["id"], again["webhook"])
    assert 409 == submit(caller, key="order-1", url="http://127.0.0.1:1/").status_code

    caller.post(f"/v1/jobs/{first['id']}/cancel")
    wait_until(lambda: receiver.calls)
    later = submit(caller, key="order-1").json()

    assert first["webhook"] == later["webhook"]
    assert [] == list(gateways.objects.list(gateway_keys.WEBHOOKS_PENDING_PREFIX))
    assert 1 == len(receiver.calls)


def test_what_is_refused_leaves_nothing(gateways: Gateways, submit: Submit) -> None:
    caller = gateways.add()
    without_key = gateways.add(deployment_keys=None)

    for answer, code, status in (
        (submit(caller, url="http://10.0.0.1/"), "WebhookRefusedError", 422),
        (submit(caller, url="http://user:pw@example.com/"), "WebhookRefusedError", 422),
        (submit(caller, secret="whsec_c2hvcnQ="), "WebhookRefusedError", 422),
        (submit(caller, events=[]), "RequestError", 422),
        (
            caller.post(
                "/v1/jobs", json={**BODY, "model": "none", "webhook": {"url": "https://a.b"}}
            ),
            "ModelNotFoundError",
            404,
        ),
        (submit(without_key), "WebhooksOffError", 501),
    ):
        assert (code, status) == (answer.json()["code"], answer.status_code)
        assert "pw" not in answer.text
    assert [] == list(gateways.objects.list(keys.GATEWAY_PREFIX + "webhooks/"))
    plain = caller.post("/v1/jobs", json=BODY).json()
    assert (None, 404) == (
        plain["webhook"],
        caller.get(f"/v1/jobs/{plain['id']}/webhook").status_code,
    )


@pytest.mark.slow
def test_gateways_with_new_keys_open_what_older_ones_sealed(
    gateways: Gateways, receiver: Receiver, submit: Submit, wait_until: WaitUntil
) -> None:
    old = gateways.settings.deployment_keys
    assert old is not None
    job = submit(gateways.add(tells=False)).json()
    gateways.client.job(job["id"]).cancel()

    rotated = f"{new_key()},{old.get_secret_value()}"
    gateways.add(deployment_keys=SecretStr(rotated))
    wait_until(lambda: receiver.calls)

    call = receiver.calls[0]
    Webhook(job["webhook"]["secret"]).verify(call.body, call.headers)


@pytest.mark.slow
def test_several_gateways_tell_each_end_once(
    gateways: Gateways,
    receiver: Receiver,
    submit: Submit,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatcher, "SCAN_EVERY_S", 0.2)
    callers = [gateways.add() for _ in range(3)]
    jobs = [submit(callers[n % 3]).json()["id"] for n in range(20)]

    for job_id in jobs:
        gateways.client.job(job_id).cancel()
    wait_until(lambda: not list(gateways.objects.list(gateway_keys.WEBHOOKS_PENDING_PREFIX)))
    gateways.stop()

    assert sorted(jobs) == sorted(json.loads(call.body)["data"]["id"] for call in receiver.calls)


def test_an_end_that_nobody_told_the_gateway_is_found(
    gateways: Gateways,
    receiver: Receiver,
    submit: Submit,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dispatcher, "SCAN_EVERY_S", 0.05)
    job = gateways.client.job(submit(gateways.add()).json()["id"])

    gateways.client._jobs.finish(job.manifest, "CANCELLED", "by a worker that dies after it")
    # As Redis does when it is emptied.
    gateways.client.coordination.drop_jobs([job.id])

    wait_until(lambda: receiver.calls)


def test_a_retry_has_the_webhook_of_its_job_and_a_deleted_job_has_none(
    gateways: Gateways, receiver: Receiver, submit: Submit, wait_until: WaitUntil
) -> None:
    caller = gateways.add()
    job = submit(caller).json()
    path = f"/v1/jobs/{job['id']}"
    caller.post(f"{path}/cancel")
    wait_until(lambda: receiver.calls)

    retry = caller.post(f"{path}/retry-failed").json()["id"]
    assert retry == caller.post(f"{path}/retry-failed").json()["id"]
    caller.post(f"/v1/jobs/{retry}/cancel")
    wait_until(lambda: len(receiver.calls) == 2)

    call = receiver.calls[1]
    told = Webhook(job["webhook"]["secret"]).verify(call.body, call.headers)
    assert retry == told["data"]["id"]
    wait_until(lambda: not list(gateways.objects.list(gateway_keys.WEBHOOKS_PENDING_PREFIX)))
    for job_id in (retry, job["id"]):
        assert 204 == caller.delete(f"/v1/jobs/{job_id}").status_code
    assert [] == list(gateways.objects.list(gateway_keys.WEBHOOKS_TOLD_PREFIX))


def test_the_job_s_page_shows_the_calls_and_calls_again(
    gateways: Gateways, receiver: Receiver, submit: Submit, wait_until: WaitUntil
) -> None:
    receiver.statuses = [410]
    caller = gateways.add()
    job = submit(caller).json()
    path = f"/jobs/{job['id']}"
    browser = TestClient(caller.app, base_url="http://127.0.0.1", follow_redirects=False)
    log_in(browser, caller.headers["authorization"].removeprefix("Bearer "))
    assert "called when the job ends" in browser.get(path).text

    caller.post(f"/v1/jobs/{job['id']}/cancel")
    wait_until(lambda: "answered 410" in browser.get(path).text)
    form = {"form_token": form_token_in(browser.get(path).text)}
    refused = browser.post(f"{path}/webhook/redeliver", data={})
    done = browser.post(f"{path}/webhook/redeliver", data=form)
    wait_until(lambda: ": delivered." in browser.get(path).text)

    assert (403, 303) == (refused.status_code, done.status_code)
    assert 2 == len(receiver.calls)
