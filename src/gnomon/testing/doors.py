"""A door for tests: it lets through to the stand-ins it is given, and to nothing else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from gnomon.clock import SystemClock
from gnomon.net.door import Door
from gnomon.settings import Net

PATIENT_S = 10.0
STALLED_S = 0.6


@asynccontextmanager
async def door_to(*addresses: str, stalls: bool = False, contact: str = "") -> AsyncIterator[Door]:
    """A real door to these "host:port", without a pause between requests.

    It waits long, so that a busy machine is not taken for a dead server; where a stand-in
    `stalls`, it gives up soon.
    """
    timeout_s = STALLED_S if stalls else PATIENT_S
    net = Net(allow=addresses, per_host_delay_s=0, timeout_s=timeout_s, contact=contact)
    async with aclosing(Door(net, SystemClock())) as door:
        yield door
