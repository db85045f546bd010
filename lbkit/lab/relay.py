"""The way into the lab: connections to loopback are carried, byte by byte, to addresses inside.

The listening sockets were bound in the machine's network namespace and handed in as file descriptors;
they stay in that namespace, so the machine itself needs no address or interface of the lab.
"""

from __future__ import annotations

import asyncio
import socket

_HIGH_WATER = 1 << 20


class _Pipe(asyncio.Protocol):
    """One end of a carried connection; what it receives goes to its twin."""

    def __init__(self, twin: _Pipe | None = None) -> None:
        self.twin = twin
        self.transport: asyncio.Transport | None = None
        self.ended = False  # it will send no more

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=_HIGH_WATER)
        # Without it every small ssh packet waits for the acknowledgement of the one before.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        if self.twin and self.twin.transport:
            self.twin.transport.write(data)

    def eof_received(self) -> bool:
        self.ended = True
        if not (self.twin and self.twin.transport) or self.twin.ended:
            return (
                False  # nothing comes from either end any more: closed, and connection_lost closes the twin
            )
        self.twin.transport.write_eof()
        return True  # half-closed: the other direction goes on

    def connection_lost(self, exc: Exception | None) -> None:
        if self.twin and self.twin.transport:
            self.twin.transport.close()

    def pause_writing(self) -> None:
        if self.twin and self.twin.transport:
            self.twin.transport.pause_reading()

    def resume_writing(self) -> None:
        if self.twin and self.twin.transport:
            self.twin.transport.resume_reading()


class _Entrance(_Pipe):
    """The end at the operator's side: reads only once the far end is connected."""

    def __init__(self, address: str, port: int) -> None:
        super().__init__()
        self.address, self.port = address, port
        self.early = bytearray()  # what arrived before the far end was connected

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert self.transport
        self.transport.pause_reading()
        self.task = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        assert self.transport
        loop = asyncio.get_running_loop()
        try:
            _, far = await loop.create_connection(lambda: _Pipe(self), self.address, self.port)
        except OSError:
            self.transport.abort()  # a reset, as from a host that refuses
            return
        if self.transport.is_closing():
            assert far.transport
            far.transport.abort()
            return
        self.twin = far
        if self.early:
            super().data_received(bytes(self.early))
        self.transport.resume_reading()

    def data_received(self, data: bytes) -> None:
        # Python before 3.11.4 reads once more after pause_reading() in connection_made: Debian 12's own loses
        # the client's first words otherwise, and sshd says "Invalid SSH identification string".
        if self.twin is None:
            self.early += data
        else:
            super().data_received(data)


async def serve(listener: socket.socket, address: str, port: int) -> asyncio.Server:
    """Connections accepted on listener reach address:port, as seen from this process."""
    return await asyncio.get_running_loop().create_server(lambda: _Entrance(address, port), sock=listener)
