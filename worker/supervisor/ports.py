"""Which port to listen on: free now, and not promised to another supervisor of this machine."""

from __future__ import annotations

import secrets
import socket
from types import TracebackType

from ferryman.errors import FerrymanError

LOOPBACK = "127.0.0.1"
# Below the kernel's ephemeral range (32768 up): no outgoing connection takes one of these while
# its server is being restarted.
SERVER_PORTS = range(20_000, 32_000)


class PortTaken(FerrymanError):
    """The port that was asked for is in use."""

    def __init__(self, option: str, port: int) -> None:
        super().__init__(f"port {port} is in use: stop what uses it, or give another {option}")


class Ports:
    """Ports taken for as long as this object is open.

    A promise is an abstract Unix socket named after the port: other supervisors cannot bind the
    same name, whoever runs them, and the kernel drops it with the process. Without it two that
    start at once both find 8080 free, long before their APIs listen.
    """

    def __init__(self) -> None:
        self._promises: list[socket.socket] = []

    def __enter__(self) -> Ports:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for promise in self._promises:
            promise.close()

    def take(self, port: int) -> bool:
        """Take the port, unless somebody listens on it or was promised it."""
        promise = socket.socket(socket.AF_UNIX)
        try:
            promise.bind(f"\0ferryman-port-{port}")
            with socket.socket() as probe:
                # As the servers do: a connection that lingers after its end is no listener.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((LOOPBACK, port))
        except OSError:
            promise.close()
            return False
        self._promises.append(promise)
        return True

    def exactly(self, port: int, option: str) -> int:
        """The port a person asked for by `option`. Raises PortTaken."""
        if not self.take(port):
            raise PortTaken(option, port)
        return port

    def from_(self, first: int) -> int:
        """`first`, or the next one above it that can be taken."""
        return next(port for port in range(first, 65_536) if self.take(port))

    def for_server(self, before: int | None) -> int:
        """The port a server had `before` if it can be taken again, or any."""
        if before is not None and self.take(before):
            return before
        while not self.take(port := secrets.choice(SERVER_PORTS)):
            pass
        return port
