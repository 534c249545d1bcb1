"""Closing a channel whose connection is gone already, as Celery does when the broker restarts."""

from __future__ import annotations

import redis
from kombu import Connection

from worker.transport import Transport


def test_a_channel_with_unacknowledged_messages_closes_without_its_connection(
    broker_url: str,
) -> None:
    connection = Connection(broker_url, transport=Transport)
    channel = connection.channel()
    queue = connection.SimpleQueue("ferryman.stripe")
    queue.put({"id": 1})
    message = queue.get(timeout=5)
    busy = message.channel
    # What Celery has done by the time it closes the channel.
    busy.connection.client = None
    busy._pool = None

    message.ack()
    busy.close()

    assert busy.closed
    assert channel.connection is not None


def test_an_acknowledgement_that_comes_after_the_close_does_no_harm(broker_url: str) -> None:
    connection = Connection(broker_url, transport=Transport)
    queue = connection.SimpleQueue("ferryman.stripe")
    queue.put({"id": 1})
    message = queue.get(timeout=5)
    connection.release()
    assert message.channel.connection is None

    message.ack()

    assert message.acknowledged


def test_one_client_serves_a_channel_until_its_pool_changes(broker_url: str) -> None:
    with Connection(broker_url, transport=Transport) as connection:
        channel = connection.channel()
        first = channel._create_client()

        assert channel._create_client() is first
        channel._disconnect_pools()
        assert channel._create_client() is not first


def test_an_acknowledgement_in_time_is_one(broker_url: str) -> None:
    with (
        Connection(broker_url, transport=Transport) as connection,
        redis.Redis.from_url(broker_url) as broker,
    ):
        queue = connection.SimpleQueue("ferryman.stripe")
        queue.put({"id": 1})
        message = queue.get(timeout=5)
        assert broker.hlen("unacked") == 1

        message.ack()

        assert broker.hlen("unacked") == 0
