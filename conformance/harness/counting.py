"""A proxy in front of the endpoint that counts the DynamoDB operations asked for.

It passes bytes on and looks for the target header in them. Kinesis over HTTP/2 passes too, and is not counted.
"""

import re
import socket
import threading
from collections import Counter
from contextlib import contextmanager
from urllib.parse import urlsplit

TARGET = re.compile(rb"DynamoDB_20120810\.(\w+)\r")
TARGET_BYTES_MAX = 64
CHUNK_BYTES = 65536


class Counts:
    """Operations by name; safe to read while it counts."""

    def __init__(self):
        self._counts, self._lock = Counter(), threading.Lock()

    def add(self, names):
        with self._lock:
            self._counts.update(name.decode() for name in names)

    def copy(self):
        with self._lock:
            return self._counts.copy()


@contextmanager
def counting(url):
    """Passes everything on to this address until the end of the block; yields (its own address, the counts)."""
    counts = Counts()
    upstream = (urlsplit(url).hostname, urlsplit(url).port)
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=accept, args=(server, upstream, counts), daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}", counts


def accept(server, upstream, counts):
    while True:
        try:
            client, _ = server.accept()
        except OSError:
            return  # the block has ended
        service = socket.create_connection(upstream)
        threading.Thread(target=passing, args=(client, service, counts), daemon=True).start()
        threading.Thread(target=passing, args=(service, client, None), daemon=True).start()


def passing(source, target, counts):
    """Passes on what comes from one side, until it ends."""
    tail = b""
    try:
        while data := source.recv(CHUNK_BYTES):
            target.sendall(data)
            if counts:
                seen = tail + data
                counts.add(TARGET.findall(seen))
                # A header may be cut in two; one that was counted must not be seen again.
                last = max((match.end() for match in TARGET.finditer(seen)), default=0)
                tail = seen[last:][-TARGET_BYTES_MAX:]
    except OSError:
        pass  # either side may go at any time
    finally:
        for each in (source, target):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            each.close()
