"""Ten thousand connections that say nothing, or begin a frame and go on a byte at a time, at one broker and then at one
keeper: real clients are served all the same, and the node holds little of each."""

import asyncio
import resource
import struct

from common import KAFKA, ZOOKEEPER, fresh, resident, run, same
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic
from kazoo.client import KazooClient

CONNECTIONS = 10_000
# Descriptors that the clients beside them want.
SPARE = 500
RECORDS = 2_000
# Of what a node holds resident, at most this for each connection.
EACH = 32 * 1024


def room():
    """As many connections as this process may have, up to what is wanted; it says so if that is fewer."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    count = CONNECTIONS if most == resource.RLIM_INFINITY else min(CONNECTIONS, most - SPARE)
    if count < CONNECTIONS:
        print(f"only {count} connections: this user may open {most} files")
    return count


async def silent(host, port, opened):
    reader, _ = await asyncio.open_connection(host, port)
    opened.append(reader)
    await reader.read(1)


async def slow(host, port, opened):
    reader, writer = await asyncio.open_connection(host, port)
    opened.append(reader)
    writer.write(struct.pack(">i", 200))
    for _ in range(200):
        writer.write(b"\0")
        await asyncio.sleep(1)


async def crowd(address, name, serve):
    host, port = address.rsplit(":", 1)
    before, count, opened = resident(name), room(), []
    tasks = []
    for number in range(count):
        tasks.append(asyncio.create_task((slow if number % 2 else silent)(host, int(port), opened)))
        if number % 100 == 0:
            await asyncio.sleep(0)
    while len(opened) < count:
        # Whoever is sent away to make room was let in first.
        failed = [task.exception() for task in tasks if task.done() and task.exception()]
        refused = [error for error in failed if isinstance(error, ConnectionRefusedError)]
        same("refused", refused, [])
        await asyncio.sleep(0.05)
    await asyncio.to_thread(serve)
    grown = resident(name) - before
    assert grown < count * EACH, f"{name} holds {grown} bytes more with {count} connections"
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def produces():
    admin = AdminClient({"bootstrap.servers": KAFKA})
    topic = fresh("crowd")
    next(iter(admin.create_topics([NewTopic(topic, num_partitions=6, replication_factor=3)]).values())).result(30)
    told = []
    producer = Producer({"bootstrap.servers": KAFKA, "acks": "all"})
    for number in range(RECORDS):
        producer.produce(topic, str(number), partition=number % 6, on_delivery=lambda error, _: told.append(error))
        producer.poll(0)
    same("left in the queue", producer.flush(60), 0)
    same("what became of them", [error for error in told if error], [])
    same("deliveries", len(told), RECORDS)


def writes():
    # This keeper alone: the crowd is there.
    client = KazooClient(hosts=ZOOKEEPER.split(",")[0])
    client.start(timeout=30)
    root = f"/{fresh('crowd')}"
    client.create(root)
    for number in range(100):
        client.create(f"{root}/{number}", b"x")
    same("children", len(client.get_children(root)), 100)
    client.stop()


def ten_thousand_at_a_broker_keep_no_producer_out():
    asyncio.run(crowd(KAFKA.split(",")[0], "broker-1", produces))


def ten_thousand_at_a_keeper_keep_no_session_out():
    asyncio.run(crowd(ZOOKEEPER.split(",")[0], "keeper-1", writes))


run(
    ten_thousand_at_a_broker_keep_no_producer_out,
    ten_thousand_at_a_keeper_keep_no_session_out,
)
