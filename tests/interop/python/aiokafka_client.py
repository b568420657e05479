"""aiokafka: producer, idempotent producer, and a consumer by assignment."""

import asyncio

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from common import CODECS, KAFKA, fresh, run, same


async def create(name, partitions=2):
    admin = AIOKafkaAdminClient(bootstrap_servers=KAFKA)
    await admin.start()
    await admin.create_topics([NewTopic(name=name, num_partitions=partitions, replication_factor=3)])
    await admin.close()
    return name


async def round_trip(codec, idempotent):
    topic = await create(fresh(f"aio-{codec}"))
    producer = AIOKafkaProducer(
        bootstrap_servers=KAFKA,
        acks="all",
        enable_idempotence=idempotent,
        compression_type=None if codec == "none" else codec,
    )
    await producer.start()
    sent = [await producer.send(topic, key=b"k%d" % (n % 5), value=b"v%d" % n) for n in range(300)]
    await asyncio.wait_for(asyncio.gather(*sent), 60)
    await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=KAFKA, auto_offset_reset="earliest", enable_auto_commit=False)
    await consumer.start()
    parts = [TopicPartition(topic, partition) for partition in range(2)]
    consumer.assign(parts)
    await consumer.seek_to_beginning(*parts)
    got = [await asyncio.wait_for(consumer.getone(), 60) for _ in range(300)]
    ends = await consumer.end_offsets(parts)
    await consumer.stop()
    same("the ends add up", sum(ends.values()), 300)
    same("values", {m.value for m in got}, {b"v%d" % n for n in range(300)})


def produced_records_come_back():
    for codec in CODECS:
        asyncio.run(round_trip(codec, idempotent=False))


def an_idempotent_producer_works():
    asyncio.run(round_trip("none", idempotent=True))


run(produced_records_come_back, an_idempotent_producer_works)
