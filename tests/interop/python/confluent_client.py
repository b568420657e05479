"""confluent-kafka (librdkafka): topics, every compression, idempotence, keys and headers, offsets by time, errors."""

import time

from common import CODECS, KAFKA, eventually, fresh, run, same
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

admin = AdminClient({"bootstrap.servers": KAFKA})


def create(name, partitions=3, replicas=3, config=None):
    topic = NewTopic(name, num_partitions=partitions, replication_factor=replicas, config=config or {})
    for future in admin.create_topics([topic]).values():
        future.result(30)
    eventually(f"{name} has leaders", lambda: leaders(name, partitions))
    return name


def leaders(name, partitions):
    topic = admin.list_topics(name, timeout=30).topics[name]
    return len(topic.partitions) == partitions and all(part.leader >= 0 for part in topic.partitions.values())


def produce(topic, count, **config):
    told = []
    producer = Producer({"bootstrap.servers": KAFKA, "linger.ms": 5, **config})
    for number in range(count):
        while True:
            try:
                producer.produce(
                    topic,
                    key=f"k{number % 17}",
                    value=f"value-{number}",
                    headers=[("n", str(number).encode()), ("n", b"twice")],
                    on_delivery=lambda error, message: told.append((error, message)),
                )
                break
            except BufferError:
                producer.poll(0.1)
    same("left in the queue", producer.flush(60), 0)
    same("delivery errors", [str(error) for error, _ in told if error], [])
    same("deliveries", len(told), count)
    return [message for _, message in told]


def read(topic, count, partitions=3, **config):
    """Reads from the beginning by assignment: no group is involved."""
    consumer = Consumer({
        "bootstrap.servers": KAFKA,
        "group.id": "unused",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        **config,
    })
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(partitions)])
    got = []
    deadline = time.monotonic() + 60
    while len(got) < count:
        message = consumer.poll(1)
        if message is None:
            assert time.monotonic() < deadline, f"{len(got)} of {count} records after 60 s"
        elif message.error():
            raise KafkaException(message.error())
        else:
            got.append(message)
    assert consumer.poll(0.2) is None, "more records than were written"
    consumer.close()
    return got


def the_cluster_describes_itself():
    cluster = admin.list_topics(timeout=30)
    same("brokers", len(cluster.brokers), 3)
    assert cluster.controller_id in cluster.brokers, cluster.controller_id
    described = admin.describe_cluster().result(30)
    same("nodes", len(described.nodes), 3)


def every_compression_is_read_back():
    for codec in CODECS:
        topic = create(fresh(f"codec-{codec}"))
        produce(topic, 500, **{"compression.type": codec})
        got = read(topic, 500)
        same(f"{codec} values", sorted(m.value().decode() for m in got), sorted(f"value-{n}" for n in range(500)))
        same("headers keep their duplicates", got[0].headers()[1], ("n", b"twice"))


def an_idempotent_producer_is_in_order():
    topic = create(fresh("idempotent"), partitions=1)
    produce(topic, 5000, **{"enable.idempotence": True})
    got = read(topic, 5000, partitions=1)
    same("order", [m.value().decode() for m in got], [f"value-{n}" for n in range(5000)])
    same("offsets", [m.offset() for m in got], list(range(5000)))


def acks_none_and_one_arrive_too():
    for acks in ["0", "1"]:
        topic = create(fresh(f"acks-{acks}"), partitions=1)
        produce(topic, 100, acks=acks)
        same("records", len(read(topic, 100, partitions=1)), 100)


def watermarks_and_offsets_by_time():
    topic = create(fresh("times"), partitions=1)
    produce(topic, 10)
    time.sleep(0.01)
    middle = int(time.time() * 1000)
    time.sleep(0.01)
    produce(topic, 10)
    consumer = Consumer({"bootstrap.servers": KAFKA, "group.id": "unused"})
    same("watermarks", consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=30), (0, 20))
    found = consumer.offsets_for_times([TopicPartition(topic, 0, middle)], timeout=30)
    same("the first offset after the pause", found[0].offset, 10)
    consumer.close()


def a_topic_is_deleted():
    topic = create(fresh("short-lived"))
    for future in admin.delete_topics([topic], operation_timeout=30).values():
        future.result(30)
    eventually("it is gone", lambda: topic not in admin.list_topics(timeout=30).topics)


def mistakes_are_told_by_their_codes():
    topic = create(fresh("mistakes"))
    for wanted, code in [
        (NewTopic(topic, 1, 3), KafkaError.TOPIC_ALREADY_EXISTS),
        (NewTopic(fresh("many"), 1, 99), KafkaError.INVALID_REPLICATION_FACTOR),
        (NewTopic(fresh("none"), 0, 3), KafkaError.INVALID_PARTITIONS),
        (NewTopic("not/a/name", 1, 3), KafkaError.TOPIC_EXCEPTION),
    ]:
        future = next(iter(admin.create_topics([wanted]).values()))
        try:
            future.result(30)
            raise AssertionError(f"{wanted} was created")
        except KafkaException as error:
            same(f"the code for {wanted}", error.args[0].code(), code)


run(
    the_cluster_describes_itself,
    every_compression_is_read_back,
    an_idempotent_producer_is_in_order,
    acks_none_and_one_arrive_too,
    watermarks_and_offsets_by_time,
    a_topic_is_deleted,
    mistakes_are_told_by_their_codes,
)
