"""A kernel connection that does not sleep through a reply: widgets made lessons wait for minutes.

Measured: 10 of 240 cells with an `interactive` slept until their time limit. nbclient answers a
widget on the socket on which it awaits the end of the cell; sending there can swallow the wake-up
of pyzmq's asyncio socket. Looking again every half second finds the reply.
"""

from queue import Empty
from time import monotonic

from jupyter_client.asynchronous import AsyncKernelClient
from jupyter_client.channels import AsyncZMQSocketChannel
from jupyter_client.manager import AsyncKernelManager
from traitlets import Type

GLANCE_SECONDS = 0.5


class GlancingChannel(AsyncZMQSocketChannel):
    """A channel that looks for a message every half second, not only when it is woken."""

    async def get_msg(self, timeout: float | None = None) -> dict:
        """The next message; raises Empty after `timeout` seconds, or never for None."""
        deadline = float("inf") if timeout is None else monotonic() + timeout
        while True:
            left = deadline - monotonic()
            try:
                return await super().get_msg(max(0, min(GLANCE_SECONDS, left)))
            except Empty:
                if left <= GLANCE_SECONDS:
                    raise


class LessonClient(AsyncKernelClient):
    """A kernel client whose replies come over a glancing channel."""

    shell_channel_class = Type(GlancingChannel)


class LessonKernelManager(AsyncKernelManager):
    """Starts kernels that are talked to by a LessonClient."""

    client_factory = Type(LessonClient)
