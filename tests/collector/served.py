"""The collector as a process of its own, and devices that upload to it over real connections."""

import http.client
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from protos import dccl_pb2
from tests.collector.devices import PROTOBUF, SmallDevice

ROOT = Path(__file__).resolve().parents[2]


class Served:
    """`dccl-serve` on a free port; a context manager."""

    def __init__(self, data_dir, *flags):
        self._command = [sys.executable, "-m", "scripts.serve_cloud", f"--data_dir={data_dir}", "--port=0", *flags]

    def __enter__(self):
        self.process = subprocess.Popen(self._command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
        self.log = []
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"running on (https?)://127\.0\.0\.1:(\d+)", line):
                self.port = int(found.group(2))
                break
        else:
            raise AssertionError("".join(self.log))
        self._reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr))
        self._reader.start()
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        self._reader.join()
        self.process.stderr.close()

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)


class Uploader(threading.Thread):
    """A device that uploads again and again until its server is gone; notes what was acknowledged."""

    def __init__(self, served: Served, device: SmallDevice):
        super().__init__()
        self._served, self.device = served, device
        self.acknowledged, self.statuses, self.stop = 0, [], threading.Event()

    def run(self):
        connection, sequence = self._served.connect(), 1
        while not self.stop.is_set():
            try:
                connection.request("POST", "/v1/vectors", self.device.body(sequence=sequence), PROTOBUF)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):
                return
            self.statuses.append((answer.status, answer.headers["Retry-After"]))
            if answer.status == 200:
                receipt = dccl_pb2.Receipt.FromString(content)
                assert receipt.status in (dccl_pb2.Receipt.ACCEPTED, dccl_pb2.Receipt.DUPLICATE), receipt
                self.acknowledged = sequence
                sequence += 1


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
