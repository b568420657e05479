"""A client writes faster than the peers of its keeper take it: what waits for them stays small, because the client has to
wait, and every write is done in the end."""

import os
import subprocess
import time

from common import ZOOKEEPER, eventually, resident, run, same
from kazoo.client import KazooClient

WRITES = 4000
SIZE = 64_000
# A few znodes over and over: the tree itself stays small.
ZNODES = 4
# What waits for one peer before clients have to wait (16 MiB), for both, with what comes on top of it while it is noticed,
# and the last writes that a keeper keeps for those that come back. All the writes together are 256 MB.
MOST = 160 << 20


def stone(*words):
    subprocess.run([os.environ["GLASSHOUSE_BIN"], "stone", *words], check=True, stdout=subprocess.DEVNULL)


def leading(hosts):
    """The name and the address of the keeper that leads."""
    for number, address in enumerate(hosts, 1):
        client = KazooClient(hosts=address)
        client.start()
        words = client.command(b"srvr")
        client.stop()
        client.close()
        if "Mode: leader" in words:
            return f"keeper-{number}", address
    return None


def a_lagging_quorum_makes_clients_wait():
    name, address = eventually("a keeper leads", lambda: leading(ZOOKEEPER.split(",")))
    others = {f"keeper-{number}" for number in (1, 2, 3)} - {name}
    client = KazooClient(hosts=address, timeout=30)
    client.start()
    paths = [client.create(f"/lag-{number}") for number in range(ZNODES)]
    before = resident(name)
    for other in others:
        stone("slow", name, other, "250")
    begun, most = time.monotonic(), before
    writes = [client.set_async(paths[number % ZNODES], bytes([number % 256]) * SIZE) for number in range(WRITES)]
    while not all(write.ready() for write in writes):
        most = max(most, resident(name))
        time.sleep(0.02)
    took = time.monotonic() - begun
    same("versions", [write.get().version for write in writes], [1 + number // ZNODES for number in range(WRITES)])
    print(f"{WRITES * SIZE >> 20} MB in {took:.1f} s; the leader held {before >> 20} MB before, {most >> 20} MB at most")
    if most - before > MOST:
        raise AssertionError(f"the leader held {most - before} bytes more than before, at most {MOST} are allowed")
    stone("heal")
    client.stop()


run(a_lagging_quorum_makes_clients_wait)
