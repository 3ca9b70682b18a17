"""What an error tells to start: nothing where `fornada up` could not help, as in a container."""

import redis
from botocore.exceptions import EndpointConnectionError

from fornada.redis_server.refusals import translate_error
from fornada.storage.s3.refusals.unanswered import not_answered


def test_only_servers_of_this_machine_are_said_to_be_started_by_fornada_up() -> None:
    for server, is_here in (("127.0.0.1:1", True), ("localhost:1", True), ("servers:1", False)):
        # Given
        refused = redis.ConnectionError(f"Error 111 connecting to {server}. Connection refused.")
        unanswered = EndpointConnectionError(endpoint_url=f"http://{server}")

        # When
        told = str(translate_error(refused)), str(not_answered(unanswered, f"S3 http://{server}"))

        # Then
        assert [is_here] * 2 == ["`fornada up`" in each for each in told], server
        assert all(server in each for each in told)
