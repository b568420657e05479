"""kafka-python: producer (idempotent by default) and a simple consumer without a group."""

from common import CODECS, KAFKA, fresh, run, same
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import TopicAlreadyExistsError

SERVERS = KAFKA.split(",")


def create(name, partitions=2):
    admin = KafkaAdminClient(bootstrap_servers=SERVERS)
    admin.create_topics([NewTopic(name=name, num_partitions=partitions, replication_factor=3)])
    admin.close()
    return name


def read(topic, count, partitions=2):
    consumer = KafkaConsumer(bootstrap_servers=SERVERS, consumer_timeout_ms=30000, auto_offset_reset="earliest")
    parts = [TopicPartition(topic, partition) for partition in range(partitions)]
    consumer.assign(parts)
    consumer.seek_to_beginning(*parts)
    got = []
    for message in consumer:
        got.append(message)
        if len(got) == count:
            break
    ends = consumer.end_offsets(parts)
    consumer.close()
    same("the ends add up", sum(ends.values()), count)
    return got


def produced_records_come_back():
    for codec in CODECS:
        topic = create(fresh(f"kp-{codec}"))
        producer = KafkaProducer(
            bootstrap_servers=SERVERS, acks="all", compression_type=None if codec == "none" else codec
        )
        futures = [producer.send(topic, key=b"k%d" % (n % 7), value=b"v%d" % n, headers=[("h", b"1")]) for n in range(300)]
        producer.flush(60)
        offsets = [(f.get(30).partition, f.get(30).offset) for f in futures]
        same("every record has a place of its own", len(set(offsets)), 300)
        producer.close()
        got = read(topic, 300)
        same("values", {m.value for m in got}, {b"v%d" % n for n in range(300)})
        same("headers", got[0].headers, [("h", b"1")])


def a_topic_exists_only_once():
    topic = create(fresh("kp-once"))
    try:
        create(topic)
        raise AssertionError("it was created twice")
    except TopicAlreadyExistsError:
        pass


run(produced_records_come_back, a_topic_exists_only_once)
