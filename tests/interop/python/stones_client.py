"""confluent-kafka (librdkafka) under `glasshouse stone reply`: what a tester of a client sees of a tampered answer."""

import os
import subprocess
import time

from common import KAFKA, eventually, fresh, run, same
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

NOT_ENOUGH_REPLICAS = 19
POLICY_VIOLATION = 44

admin = AdminClient({"bootstrap.servers": KAFKA})


def create(name):
    next(iter(admin.create_topics([NewTopic(name, num_partitions=1, replication_factor=3)]).values())).result(30)
    eventually("it has a leader", lambda: leader(name) >= 0)
    return name


def leader(name):
    partitions = admin.list_topics(name, timeout=30).topics[name].partitions
    return partitions[0].leader if 0 in partitions else -1


def stone(topic, *words):
    """Tampers with the next Produce answer of the topic's leader."""
    subprocess.run([os.environ["GLASSHOUSE_BIN"], "stone", "reply", f"broker-{leader(topic)}", *words], check=True)


def send(topic, value, **config):
    """One record; its delivery error, and how long it took."""
    told = []
    producer = Producer({"bootstrap.servers": KAFKA, "linger.ms": 0, "retry.backoff.ms": 50, **config})
    begun = time.monotonic()
    producer.produce(topic, value=value, on_delivery=lambda error, message: told.append(error))
    same("left in the queue", producer.flush(60), 0)
    same("deliveries", len(told), 1)
    return told[0], time.monotonic() - begun


def values(topic):
    consumer = Consumer({
        "bootstrap.servers": KAFKA,
        "group.id": "unused",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    })
    consumer.assign([TopicPartition(topic, 0, 0)])
    got = []
    while True:
        message = consumer.poll(30)
        assert message is not None, f"no end of the partition after 30 s, only {got}"
        if message.error():
            same("the end", message.error().code(), KafkaError._PARTITION_EOF)
            consumer.close()
            return got
        got.append(message.value())


def an_answer_that_is_lost_makes_a_duplicate_without_idempotence():
    topic = create(fresh("lost"))
    stone(topic, "lost")
    same("error", send(topic, "once?", acks="all")[0], None)
    same("records", values(topic), [b"once?", b"once?"])


def an_answer_that_is_lost_makes_none_with_it():
    topic = create(fresh("lost-idempotent"))
    stone(topic, "lost")
    same("error", send(topic, "once", **{"enable.idempotence": True})[0], None)
    same("records", values(topic), [b"once"])


def an_answer_that_is_late_is_waited_for():
    topic = create(fresh("late"))
    stone(topic, "delay", "1200")
    error, took = send(topic, "late")
    same("error", error, None)
    assert took >= 1.2, f"the answer was there after {took:.3f} s"
    same("records", values(topic), [b"late"])


def an_error_that_may_pass_is_tried_again():
    topic = create(fresh("retried"))
    stone(topic, "error", str(NOT_ENOUGH_REPLICAS))
    same("error", send(topic, "again", **{"enable.idempotence": True})[0], None)
    same("records", values(topic), [b"again"])


def an_error_that_does_not_pass_is_told():
    topic = create(fresh("told"))
    stone(topic, "error", str(POLICY_VIOLATION))
    same("the code", send(topic, "refused")[0].code(), POLICY_VIOLATION)
    same("the next is not tampered with", send(topic, "taken")[0], None)
    same("records", values(topic), [b"refused", b"taken"])


run(
    an_answer_that_is_lost_makes_a_duplicate_without_idempotence,
    an_answer_that_is_lost_makes_none_with_it,
    an_answer_that_is_late_is_waited_for,
    an_error_that_may_pass_is_tried_again,
    an_error_that_does_not_pass_is_told,
)
