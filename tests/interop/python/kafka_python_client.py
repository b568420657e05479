"""kafka-python: producer (idempotent by default) and a simple consumer without a group."""

import json
import os
import urllib.request

from common import CODECS, KAFKA, eventually, fresh, run, same
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


def sessions():
    """The fetch sessions of all brokers."""
    with open(os.path.join(os.environ["GLASSHOUSE_DATA"], "cluster.json")) as file:
        nodes = json.load(file)["nodes"]
    name, total = "kafka_server_fetchsessioncache_numincrementalfetchsessions", 0
    for node in nodes:
        if node["role"] == "broker":
            text = urllib.request.urlopen(f"http://{node['http']}/metrics").read().decode()
            total += sum(int(line.split()[1]) for line in text.splitlines() if line.startswith(name))
    return total


def a_consumer_reads_on_within_its_fetch_sessions():
    topic = create(fresh("kp-session"), 6)
    before = sessions()
    consumer = KafkaConsumer(bootstrap_servers=SERVERS, auto_offset_reset="earliest")
    consumer.assign([TopicPartition(topic, partition) for partition in range(6)])
    producer = KafkaProducer(bootstrap_servers=SERVERS, acks="all")
    got = []
    for n in range(40):
        producer.send(topic, partition=n % 6, value=b"v%d" % n).get(30)

        def has_come():
            got.extend(message.value for part in consumer.poll(100).values() for message in part)
            return len(got) > n

        eventually(f"record {n}", has_come)
    same("each once, in order", got, [b"v%d" % n for n in range(40)])
    assert sessions() > before, f"{sessions()} sessions, {before} before"
    producer.close()
    consumer.close()


run(produced_records_come_back, a_topic_exists_only_once, a_consumer_reads_on_within_its_fetch_sessions)
