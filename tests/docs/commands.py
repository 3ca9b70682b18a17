"""The parts of `aws s3api` and `redis-cli` that the docs use, on our clients."""

import argparse
import os
import sys
from pathlib import Path

import redis

from fornada.errors import ObjectNotFoundError
from fornada.settings import Settings
from fornada.storage.s3.store import S3ObjectStore


def aws(arguments: list[str]) -> int:
    """`aws --endpoint-url URL s3api get-object|put-object …`; 254 if refused, like aws."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--endpoint-url", required=True)
    parser.add_argument("service", choices=["s3api"])
    parser.add_argument("operation", choices=["get-object", "put-object"])
    parser.add_argument("outfile", nargs="?", type=Path)
    for name in ("--bucket", "--key"):
        parser.add_argument(name, required=True)
    parser.add_argument("--body", type=Path)
    parser.add_argument("--if-none-match", choices=["*"])
    given = parser.parse_intermixed_args(arguments)
    environ = {
        "FORNADA_S3_ENDPOINT_URL": given.endpoint_url,
        "FORNADA_S3_BUCKET": given.bucket,
        "FORNADA_S3_ACCESS_KEY_ID": os.environ["AWS_ACCESS_KEY_ID"],
        "FORNADA_S3_SECRET_ACCESS_KEY": os.environ["AWS_SECRET_ACCESS_KEY"],
    }
    objects = S3ObjectStore.from_settings(Settings.from_env(environ))
    if given.operation == "get-object":
        try:
            given.outfile.write_bytes(objects.get(given.key).data)
        except ObjectNotFoundError:
            return 254
        return 0
    data = given.body.read_bytes()
    if given.if_none_match:
        return 0 if objects.put_if_absent(given.key, data) else 254
    objects.put(given.key, data)
    return 0


def redis_cli(arguments: list[str]) -> int:
    """`redis-cli -u URL COMMAND …`."""
    option, url, *command = arguments
    assert option == "-u"
    with redis.Redis.from_url(url) as client:
        print(client.execute_command(*command))  # noqa: T201 - what redis-cli does
    return 0


if __name__ == "__main__":
    program = {"aws": aws, "redis-cli": redis_cli}[sys.argv[1]]
    sys.exit(program(sys.argv[2:]))
