"""Whether a child can do its work already: asked by a real connection each time."""

from __future__ import annotations

import http.client
import socket

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from worker.supervisor.ports import LOOPBACK

ASK_SECONDS = 2


def database_answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=ASK_SECONDS) as connection:
            connection.execute("SELECT 1")
    except psycopg.OperationalError:
        return False
    return True


def broker_answers(url: str) -> bool:
    client = redis.Redis.from_url(
        url,
        socket_timeout=ASK_SECONDS,
        socket_connect_timeout=ASK_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
    finally:
        client.close()


def http_answers(port: int, path: str, method: str = "GET") -> bool:
    """Whether such a request to the loopback port gives 200."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=ASK_SECONDS)
    try:
        connection.request(method, path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def listens(port: int) -> bool:
    """Whether something accepts connections on the loopback port."""
    try:
        socket.create_connection((LOOPBACK, port), ASK_SECONDS).close()
    except OSError:
        return False
    return True
