"""What is not served (groups, transactions, most of admin), asked by clients that look at ApiVersions first and by such
that do not: each hears an error soon, and over the connection it has."""

import json
import socket
import struct
import time

from common import KAFKA, eventually, fresh, run, same
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka import TopicPartition as Place
from kafka.admin import ACLFilter, ACLOperation, ACLPermissionType, ACLResourcePatternType, NewTopic
from kafka.admin import ResourcePatternFilter, ResourceType
from kafka.errors import IncompatibleBrokerVersion, SecurityDisabledError, UnsupportedVersionError
from kafka.errors import KafkaError as AnyError

SERVERS = KAFKA.split(",")
# Long for an answer, short for a timeout of these clients.
SOON = 20


def create(name):
    admin = KafkaAdminClient(bootstrap_servers=SERVERS)
    admin.create_topics([NewTopic(name=name, num_partitions=2, replication_factor=3)])
    admin.close()
    return name


def refused(what, ask, *errors):
    """Asks; it must fail soon, and with one of these. The failure."""
    begun = time.monotonic()
    try:
        answer = ask()
    except errors as error:
        took = time.monotonic() - begun
        assert took < SOON, f"{what}: it took {took} s to hear {error!r}"
        return error
    raise AssertionError(f"{what}: {answer!r} instead of an error")


def what_librdkafka_is_not_offered_it_says_so_at_once():
    admin = AdminClient({"bootstrap.servers": KAFKA})
    topic = ConfigResource(ConfigResource.Type.TOPIC, create(fresh("refused")))
    described = admin.describe_configs([topic])[topic]
    error = refused("describe_configs", lambda: described.result(SOON), KafkaException)
    same("describe_configs", error.args[0].code(), KafkaError._UNSUPPORTED_FEATURE)
    listed = admin.list_consumer_groups(request_timeout=SOON).result(SOON)
    same("groups", listed.valid, [])
    same("of each broker", {error.code() for error in listed.errors}, {KafkaError._UNSUPPORTED_FEATURE})
    producer = Producer({"bootstrap.servers": KAFKA, "transactional.id": fresh("refused"), "log_level": 0})
    error = refused("init_transactions", lambda: producer.init_transactions(SOON), KafkaException)
    assert error.args[0].fatal(), error


def subscriber(topic, **config):
    """A consumer of librdkafka that has subscribed, and what its statistics say."""
    said = {}
    consumer = Consumer({
        "bootstrap.servers": KAFKA,
        "group.id": fresh("group"),
        "statistics.interval.ms": 100,
        "stats_cb": lambda text: said.update(json.loads(text)),
        "log_level": 0,
        **config,
    })
    consumer.subscribe([topic])
    return consumer, said


def a_subscriber_of_librdkafka_that_looks_for_groups_asks_nothing_and_stays_connected():
    # It waits for a broker that knows groups, and says so to nobody; what it is asked for meanwhile ends in time.
    topic = create(fresh("refused"))
    consumer, said = subscriber(topic)
    for _ in range(5):
        same("nothing comes", consumer.poll(1), None)
    refused("committed", lambda: consumer.committed([TopicPartition(topic, 0)], timeout=2), KafkaException)
    eventually("statistics", lambda: consumer.poll(0.1) or "brokers" in said)
    same("broken connections", sum(broker["disconnects"] for broker in said["brokers"].values()), 0)
    consumer.close()


def a_subscriber_of_librdkafka_that_does_not_look_hears_that_there_are_no_groups():
    old = {"api.version.request": False, "broker.version.fallback": "0.9.0"}
    consumer, said = subscriber(create(fresh("refused")), **old)
    message = eventually("it hears something", lambda: consumer.poll(1), SOON)
    same("error", message.error() and message.error().code(), KafkaError.UNSUPPORTED_VERSION)
    eventually("statistics", lambda: consumer.poll(0.1) or "brokers" in said)
    same("broken connections", sum(broker["disconnects"] for broker in said["brokers"].values()), 0)
    consumer.close()


def group_of(topic, **config):
    consumer = KafkaConsumer(
        topic, bootstrap_servers=SERVERS, group_id=fresh("group"), consumer_timeout_ms=SOON * 1000, **config
    )
    try:
        return list(consumer)
    finally:
        consumer.close(autocommit=False)


def kafka_python_hears_that_there_are_no_groups_whether_it_looks_or_not():
    topic = create(fresh("refused"))
    refused("a group", lambda: group_of(topic), IncompatibleBrokerVersion, UnsupportedVersionError)
    for version in [(0, 9), (1, 0), (2, 6), (3, 0)]:
        refused(f"a group of {version}", lambda: group_of(topic, api_version=version), UnsupportedVersionError)


def kafka_python_hears_of_each_thing_that_it_asked_though_it_was_not_offered():
    topic = create(fresh("refused"))
    acls = ACLFilter(
        principal=None,
        host=None,
        operation=ACLOperation.ANY,
        permission_type=ACLPermissionType.ANY,
        resource_pattern=ResourcePatternFilter(ResourceType.ANY, None, ACLResourcePatternType.ANY),
    )
    for version in [(1, 0), (2, 0), (2, 6), (3, 0)]:
        admin = KafkaAdminClient(bootstrap_servers=SERVERS, api_version=version, request_timeout_ms=SOON * 1000)
        for what, ask in [
            ("groups", admin.list_groups),
            ("a group", lambda: admin.describe_groups([fresh("group")])),
            ("partitions", lambda: admin.create_partitions({topic: 4})),
            ("records", lambda: admin.delete_records({Place(topic, 0): 1})),
        ]:
            refused(f"{what} of {version}", ask, UnsupportedVersionError)
        refused(f"acls of {version}", lambda: admin.describe_acls(acls), SecurityDisabledError)
        for broker in admin.describe_log_dirs():
            same("directories", [found["error_code"] for found in broker["log_dirs"]], [35])
        admin.close()


def kafka_python_begins_no_transactions():
    producer = KafkaProducer(bootstrap_servers=SERVERS, transactional_id=fresh("refused"))
    refused("a transaction", producer.init_transactions, AnyError)
    producer.close(timeout=1)


def fetch_as(replica, leader, topic):
    """One Fetch (version 4) of partition 0 from its start, by hand: the error of the partition, and how many bytes came."""
    name = topic.encode()
    body = struct.pack(">iiiib", replica, 500, 1, 1 << 20, 0)
    body += struct.pack(">ih", 1, len(name)) + name + struct.pack(">iiqi", 1, 0, 0, 1 << 20)
    frame = struct.pack(">hhih", 1, 4, 7, -1) + body
    host, port = leader.rsplit(":", 1)
    with socket.create_connection((host, int(port)), SOON) as connection:
        connection.sendall(struct.pack(">i", len(frame)) + frame)
        stream = connection.makefile("rb")
        answer = stream.read(struct.unpack(">i", stream.read(4))[0])
    row = answer[4 + 4 + 4 + 2 + len(name) + 4 :]
    _, error, _, _, aborted = struct.unpack(">ihqqi", row[:26])
    return error, struct.unpack(">i", row[26 + 16 * max(aborted, 0) :][:4])[0]


def who_says_that_he_is_a_follower_is_refused():
    # It would move the high watermark over what no follower holds (CVE-2018-1288).
    topic = create(fresh("posed"))
    producer = KafkaProducer(bootstrap_servers=SERVERS, acks="all")
    producer.send(topic, b"v", partition=0).get(SOON)
    producer.close()
    of = AdminClient({"bootstrap.servers": KAFKA}).list_topics(topic).topics[topic].partitions[0].leader
    leader = SERVERS[of - 1]
    error, held = fetch_as(-1, leader, topic)
    assert (error, held > 0) == (0, True), f"a consumer: {error}, {held}"
    for follower in range(3):
        error, held = fetch_as(follower, leader, topic)
        assert (error, held <= 0) == (29, True), f"posing as {follower}: {error}, {held}"


run(
    what_librdkafka_is_not_offered_it_says_so_at_once,
    a_subscriber_of_librdkafka_that_looks_for_groups_asks_nothing_and_stays_connected,
    a_subscriber_of_librdkafka_that_does_not_look_hears_that_there_are_no_groups,
    kafka_python_hears_that_there_are_no_groups_whether_it_looks_or_not,
    kafka_python_hears_of_each_thing_that_it_asked_though_it_was_not_offered,
    kafka_python_begins_no_transactions,
    who_says_that_he_is_a_follower_is_refused,
)
