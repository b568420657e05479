"""What every foreign client's story shares: where the cluster is, and how to wait for something to become true."""

import json
import os
import subprocess
import sys
import time
import uuid

KAFKA = os.environ["GLASSHOUSE_KAFKA"]
ZOOKEEPER = os.environ["GLASSHOUSE_ZOOKEEPER"]
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def fresh(name):
    """A name that no earlier run has used."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def eventually(what, ask, seconds=60):
    """Asks until it is answered with something true."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: still not so after {seconds} s")
        time.sleep(0.05)


def same(what, got, expected):
    if got != expected:
        raise AssertionError(f"{what}: got {got!r}, expected {expected!r}")


def resident(name):
    """What a node holds, in bytes."""
    with open(os.path.join(os.environ["GLASSHOUSE_DATA"], "cluster.json")) as file:
        pids = {node["name"]: node["pid"] for node in json.load(file)["nodes"]}
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(pids[name])], check=True, capture_output=True, text=True)
    return int(told.stdout) * 1024


def run(*stories):
    """Runs each story, telling its name; the first that fails ends the run with its traceback."""
    for story in stories:
        begun = time.monotonic()
        story()
        print(f"ok {story.__name__} {time.monotonic() - begun:.2f} s", flush=True)
    sys.exit(0)
