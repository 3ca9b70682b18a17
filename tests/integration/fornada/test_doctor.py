"""`fornada doctor` as users run it, on good and on broken deployments."""

import json
import ssl
from collections.abc import Callable

import trustme
from click.testing import CliRunner, Result
from pydantic import SecretStr

from fornada import keys
from fornada.commands.doctor.command import doctor as command
from fornada.coordination.redis import RedisCoordination
from fornada.errors import ForeignBucketError
from fornada.jobs.bucket_id import BucketCheck
from fornada.local.ports import free_port
from fornada.redis_server.refusals import RIGHTS
from fornada.settings import Settings
from fornada.storage.opening import open_store
from worker.cli import worker as worker_command

from ...redis_proxy import RedisProxy


def doctor(environ: dict[str, str], *options: str) -> Result:
    return CliRunner().invoke(command, options, env=environ, catch_exceptions=False)


def findings(done: Result) -> dict[str, str]:
    """Status by check; there is exactly one JSON object on stdout."""
    return {f["check"]: f["status"] for f in json.loads(done.stdout)["findings"]}


def test_a_good_deployment_is_well_and_nothing_is_left_in_it(
    environ: dict[str, str], settings: Settings
) -> None:
    RedisCoordination.from_settings(settings).beat("worker-1", after=None, step_s=0)

    done = doctor(environ, "--json")

    assert 0 == done.exit_code
    assert {
        "settings": "ok",
        "inputs": "ok",
        "broker": "ok",
        "workers": "ok",
        "store": "ok",
        "conditional writes": "ok",
        "bucket": "ok",
        "clocks": "ok",
        "cores": "ok",
        "images": "ok",
        "model": "skip",
    } == findings(done)
    left = [info.key for info in open_store(settings).list("")]
    assert [keys.conditions(str(settings.s3_endpoint_url))] == left


def test_a_lease_that_differs_from_that_of_the_workers_is_told(
    environ: dict[str, str], settings: Settings
) -> None:
    other = settings.model_copy(update={"lease_s": 2 * settings.lease_s})
    RedisCoordination.from_settings(other).beat("worker-1", after=None, step_s=0)

    assert "warn" == findings(doctor(environ, "--json"))["leases"]


def test_a_second_bucket_on_one_redis_is_found_and_can_be_adopted(
    environ: dict[str, str], settings: Settings
) -> None:
    coordination = RedisCoordination.from_settings(settings)
    other = {**environ, "FORNADA_S3_BUCKET": f"{settings.s3_bucket}-moved"}
    BucketCheck.from_settings(
        settings, objects=open_store(settings), coordination=coordination
    ).check()
    coordination.rebuild_open_jobs(["stuck", *(f"made-up-{number}" for number in range(1000))])
    coordination.hold_up("stuck", "worker-1", "no key")
    coordination.quarantine_job("broken", "no manifest")

    refused = doctor(other, "--create-bucket", "--json")
    worker = CliRunner().invoke(
        worker_command, [], env={**other, "FORNADA_ENGINE": "test"}, catch_exceptions=True
    )
    moved = settings.model_copy(update={"s3_bucket": other["FORNADA_S3_BUCKET"]})
    open_store(moved).put(keys.JobKeys("stuck").manifest, b"{}")
    adopted = doctor(other, "--adopt", "--json")

    # then doctor and worker say so, until the bucket is adopted
    assert (1, "fail") == (refused.exit_code, findings(refused)["jobs"])
    assert f"Redis belongs to bucket '{settings.s3_bucket}' at" in refused.stdout
    assert isinstance(worker.exception, ForeignBucketError)
    assert (0, "ok") == (adopted.exit_code, findings(adopted)["bucket"])
    # and jobs that cannot go on are named, and those counted that nobody submitted
    assert "1000 jobs are listed as open in Redis and are not in the store" in adopted.stdout
    assert "no process goes on with job stuck: no key" in adopted.stdout
    assert "job broken cannot be read: no manifest" in adopted.stdout


def test_for_people_there_is_a_line_for_each_check(environ: dict[str, str]) -> None:
    done = doctor(environ)

    assert 0 == done.exit_code
    lines = done.stdout.splitlines()
    assert [line for line in lines if line.startswith("ok   broker: Valkey")]
    bucket = environ["FORNADA_S3_BUCKET"]
    assert [line for line in lines if line.startswith(f"ok   inputs: jobs read s3://{bucket}/")]
    assert "warn workers: no worker has been seen; start one with `fornada worker`" in lines
    assert [line for line in lines if line.startswith("ok   store: http://127.0.0.1")]


def test_a_broker_that_is_down_or_refuses_us_fails_alone(environ: dict[str, str]) -> None:
    host = environ["FORNADA_REDIS_URL"].rpartition("@")[2]
    for where, fact in (
        (f"127.0.0.1:{free_port()}/0", "Redis cannot be reached"),
        (host, "Redis refuses us"),
    ):
        url = f"redis://:hunter2@{where}"
        done = doctor({**environ, "FORNADA_REDIS_URL": url}, "--json")

        assert 1 == done.exit_code
        assert ("fail", "ok") == (findings(done)["broker"], findings(done)["store"])
        assert fact in done.stdout
        assert "hunter2" not in done.output


def test_the_right_that_a_user_of_redis_lacks_is_named_with_the_recipe(
    environ: dict[str, str], as_user: Callable[[str], SecretStr]
) -> None:
    for lacking in ("+@scripting", "+time", "~fornada*", "&fornada*"):
        url = as_user(RIGHTS.replace(lacking, "")).get_secret_value()

        done = doctor({**environ, "FORNADA_REDIS_URL": url})

        assert 1 == done.exit_code
        assert f"lacks {lacking};" in done.stdout
        assert RIGHTS in done.stdout


def test_a_certificate_that_is_not_verified_is_told(
    environ: dict[str, str], redis_url: str
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)
    with RedisProxy(redis_url, tls=context) as proxy:
        url = f"{proxy.url}?ssl_cert_reqs=none"
        done = doctor({**environ, "FORNADA_REDIS_URL": url}, "--json")

    assert "warn" == findings(done)["broker certificate"]


def test_a_store_that_is_down_or_refuses_us_fails_and_the_broker_does_not(
    environ: dict[str, str],
) -> None:
    endpoint = f"http://127.0.0.1:{free_port()}"
    for variable, wrong, fact in (
        ("FORNADA_S3_ENDPOINT_URL", endpoint, endpoint),
        ("FORNADA_S3_ACCESS_KEY_ID", "hunter2hunter2", "FORNADA_S3_SECRET_ACCESS_KEY"),
        ("FORNADA_S3_SECRET_ACCESS_KEY", "hunter2hunter2", "FORNADA_S3_SECRET_ACCESS_KEY"),
    ):
        done = doctor({**environ, variable: wrong}, "--json")

        assert 1 == done.exit_code
        assert ("ok", "fail") == (findings(done)["broker"], findings(done)["store"])
        assert fact in done.stdout


def test_an_unknown_model_is_told(environ: dict[str, str]) -> None:
    # Not TensorFlow, which may have computed in this process, too late for a limit of threads.
    done = doctor({**environ, "FORNADA_ENGINE": "test"}, "--model", "nobody@prod", "--json")

    assert 1 == done.exit_code
    assert "fail" == findings(done)["model"]
    assert "nobody" in done.stdout


def test_a_store_that_honours_conditions_is_told_from_one_that_does_not(
    environ: dict[str, str], moto_settings: Settings
) -> None:
    assert moto_settings.s3_endpoint_url is not None
    on_moto = {
        **environ,
        "FORNADA_S3_ENDPOINT_URL": moto_settings.s3_endpoint_url,
        "FORNADA_S3_BUCKET": moto_settings.s3_bucket,
    }

    assert "If-None-Match: * is ignored" in doctor(environ).stdout
    assert "If-None-Match: * is honoured" in doctor(on_moto).stdout


def test_the_report_on_a_store_says_what_it_does(
    environ: dict[str, str], moto_settings: Settings
) -> None:
    on_moto = {
        **environ,
        "FORNADA_S3_ENDPOINT_URL": str(moto_settings.s3_endpoint_url),
        "FORNADA_S3_BUCKET": moto_settings.s3_bucket,
    }
    for each, second, raced, decides in (
        (environ, "taken", "not tried", "Redis, and reading back"),
        (on_moto, "refused", "1 of 32 created the object", "the store"),
    ):
        done = doctor(each, "--store-report", "--json")

        assert 0 == done.exit_code, done.output
        found = {one["name"]: one["answer"] for one in json.loads(done.stdout)["properties"]}
        expected = {
            "reads after writes": "yes",
            "listing": "in key order",
            "ranges": "honoured",
            "a second conditional put": second,
            "conditional puts at once": raced,
            "outcomes are decided by": decides,
        }
        assert expected == {name: found[name] for name in expected}
    assert "outcomes are decided by" in doctor(environ, "--store-report").stdout
