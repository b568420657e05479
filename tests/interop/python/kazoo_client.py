"""kazoo: nodes, versions, watches, multi, lock, election, ACLs with auth, and a session that expires."""

import os
import subprocess
import sys
import threading

from common import ZOOKEEPER, eventually, fresh, run, same
from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, NoAuthError, NodeExistsError, NoNodeError, NotEmptyError
from kazoo.security import make_digest_acl

ROOT = "/" + fresh("kazoo")


def connect(**options):
    client = KazooClient(hosts=ZOOKEEPER, timeout=10, **options)
    client.start(timeout=30)
    return client


def nodes_and_versions():
    zk = connect()
    zk.ensure_path(ROOT)
    path, stat = zk.create(f"{ROOT}/a", b"one", include_data=True)
    same("path", path, f"{ROOT}/a")
    same("version", stat.version, 0)
    same("set", zk.set(path, b"two", version=0).version, 1)
    data, stat = zk.get(path)
    same("data", (data, stat.version, stat.dataLength), (b"two", 1, 3))
    assert stat.mzxid > stat.czxid
    for wrong, error in [
        (lambda: zk.set(path, b"three", version=0), BadVersionError),
        (lambda: zk.create(path, b""), NodeExistsError),
        (lambda: zk.get(f"{ROOT}/nobody"), NoNodeError),
        (lambda: zk.delete(ROOT), NotEmptyError),
    ]:
        try:
            wrong()
            raise AssertionError(f"no {error.__name__}")
        except error:
            pass
    names = [zk.create(f"{ROOT}/s-", sequence=True) for _ in range(3)]
    same("sequential names ascend", names, sorted(names))
    same("children", len(zk.get_children(ROOT)), 4)
    zk.stop()


def a_watch_fires_once_and_before_the_news():
    zk, other = connect(), connect()
    path = f"{ROOT}/watched"
    events = []
    same("not there yet", zk.exists(path, watch=events.append), None)
    other.create(path, b"1")
    eventually("the creation is told", lambda: events)
    same("what it says", (events[0].type, events[0].path), ("CREATED", path))
    zk.get(path, watch=events.append)
    other.set(path, b"2")
    other.set(path, b"3")
    eventually("the change is told", lambda: len(events) == 2)
    zk.sync(path)
    same("and only once", (zk.get(path)[0], len(events)), (b"3", 2))
    zk.get_children(ROOT, watch=events.append)
    other.delete(path)
    eventually("the children changed", lambda: len(events) == 3)
    same("what it says", events[2].type, "CHILD")
    zk.stop()
    other.stop()


def a_transaction_is_all_or_nothing():
    zk = connect()
    good = zk.transaction()
    good.create(f"{ROOT}/t1", b"1")
    good.create(f"{ROOT}/t2", b"2")
    good.check(f"{ROOT}/t1", version=0)
    good.set_data(f"{ROOT}/t1", b"11")
    results = good.commit()
    same("all of it", len([r for r in results if not isinstance(r, Exception)]), 4)
    bad = zk.transaction()
    bad.delete(f"{ROOT}/t1")
    bad.check(f"{ROOT}/t2", version=7)
    same("the failing check", type(bad.commit()[1]).__name__, "BadVersionError")
    same("nothing happened", zk.get(f"{ROOT}/t1")[0], b"11")
    zk.stop()


def a_lock_is_held_by_one():
    clients = [connect() for _ in range(3)]
    inside, most, order = [0], [0], []

    def work(zk, name):
        with zk.Lock(f"{ROOT}/lock", name):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            order.append(name)
            zk.get(ROOT)
            inside[0] -= 1

    threads = [threading.Thread(target=work, args=(zk, f"c{n}")) for n, zk in enumerate(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    same("holders at once", most[0], 1)
    same("everybody had it", sorted(order), ["c0", "c1", "c2"])
    for zk in clients:
        zk.stop()


def an_election_moves_on_when_the_winner_leaves():
    first, second = connect(), connect()
    won, leave = [], threading.Event()
    threading.Thread(target=lambda: first.Election(f"{ROOT}/el", "a").run(lambda: (won.append("a"), leave.wait(60)))).start()
    eventually("the first leads", lambda: won == ["a"])
    threading.Thread(target=lambda: second.Election(f"{ROOT}/el", "b").run(lambda: won.append("b"))).start()
    eventually("both stand", lambda: len(first.Election(f"{ROOT}/el").contenders()) == 2)
    leave.set()
    eventually("the second leads", lambda: won == ["a", "b"])
    first.stop()
    second.stop()


def access_lists_are_kept():
    owner = connect(auth_data=[("digest", "ann:secret")])
    path = owner.create(f"{ROOT}/mine", b"x", acl=[make_digest_acl("ann", "secret", all=True)])
    stranger = connect()
    try:
        stranger.get(path)
        raise AssertionError("a stranger read it")
    except NoAuthError:
        pass
    same("the owner reads", owner.get(path)[0], b"x")
    acls, _ = owner.get_acls(path)
    same("scheme", acls[0].id.scheme, "digest")
    stranger.add_auth("digest", "ann:secret")
    same("with the password", stranger.get(path)[0], b"x")
    stranger.delete(path)
    owner.stop()
    stranger.stop()


def an_expired_session_takes_its_ephemerals_with_it():
    witness, doomed = connect(), KazooClient(hosts=ZOOKEEPER, timeout=2)
    doomed.start(timeout=30)
    states = []
    doomed.add_listener(states.append)
    path = doomed.create(f"{ROOT}/mortal", ephemeral=True)
    same("owner", witness.get(path)[1].ephemeralOwner, doomed.client_id[0])
    gone = threading.Event()
    witness.exists(path, watch=lambda event: gone.set())
    # A second client takes the session over and closes it: for the first, it has expired.
    session, password = doomed.client_id
    thief = KazooClient(hosts=ZOOKEEPER, timeout=2, client_id=(session, password))
    thief.start(timeout=30)
    thief.stop()
    assert gone.wait(60), "the ephemeral node is still there"
    same("it is gone", witness.exists(path), None)
    eventually("the first client learns it", lambda: "LOST" in [str(state) for state in states])
    doomed.stop()
    # And one whose process is killed: nobody closes anything, its time just runs out.
    path = f"{ROOT}/silent"
    gone.clear()
    code = "import sys, time, common; from kazoo.client import KazooClient as K; k = K(common.ZOOKEEPER, timeout=2);" \
        "k.start(30); k.create(sys.argv[1], ephemeral=True); print('there', flush=True); time.sleep(600)"
    silent = subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE, cwd=os.path.dirname(__file__))
    same("the child", silent.stdout.readline(), b"there\n")
    assert witness.exists(path, watch=lambda event: gone.set())
    silent.kill()
    silent.wait()
    assert gone.wait(60), "the silent session never expired"
    witness.stop()


def large_nodes_and_many_children():
    zk = connect()
    zk.create(f"{ROOT}/large", b"x" * 1_000_000)
    same("a megabyte", len(zk.get(f"{ROOT}/large")[0]), 1_000_000)
    zk.create(f"{ROOT}/many")
    asked = [zk.create_async(f"{ROOT}/many/{n:04}", b"") for n in range(1000)]
    for one in asked:
        one.get(timeout=30)
    same("children", len(zk.get_children(f"{ROOT}/many")), 1000)
    zk.delete(ROOT, recursive=True)
    zk.stop()


run(
    nodes_and_versions,
    a_watch_fires_once_and_before_the_news,
    a_transaction_is_all_or_nothing,
    a_lock_is_held_by_one,
    an_election_moves_on_when_the_winner_leaves,
    access_lists_are_kept,
    an_expired_session_takes_its_ephemerals_with_it,
    large_nodes_and_many_children,
)
