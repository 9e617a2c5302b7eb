"""UmaDB's own server on loopback: `python -m benchmarks.peers.uma CLIENTS EVENTS_A_COMMIT PAYLOAD_BYTES SECONDS`.

Runs with a Python that has the `umadb` wheel, and needs nothing else. Prints {"commits_s", "version"}.
"""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from pathlib import Path


def main(clients: int, size: int, payload: int, seconds: float) -> None:
    import umadb

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    directory = tempfile.mkdtemp(prefix="daybook-umadb-")
    program = Path(sys.executable).parent / "umadb"
    command = [str(program), "--listen", f"127.0.0.1:{port}", "--db-path", f"{directory}/uma.db"]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url, deadline = f"http://127.0.0.1:{port}", time.monotonic() + 20
        while True:
            try:
                umadb.Client(url).head()
                break
            except Exception:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        counts, start = [0] * clients, threading.Barrier(clients + 1)
        stop = threading.Event()

        def write(number: int) -> None:
            client = umadb.Client(url)
            start.wait()
            n = 0
            while not stop.is_set():
                events = [
                    umadb.Event("Filled", b"x" * payload, [f"order:{number}-{n}-{k}", "position:main"])
                    for k in range(size)
                ]
                client.append(events)
                n += 1
                counts[number] = n

        threads = [threading.Thread(target=write, args=(number,)) for number in range(clients)]
        for thread in threads:
            thread.start()
        start.wait()
        began, before = time.perf_counter(), sum(counts)
        time.sleep(seconds)
        result = {"commits_s": (sum(counts) - before) / (time.perf_counter() - began), "version": version("umadb")}
        stop.set()
        for thread in threads:
            thread.join()
        print(json.dumps(result), flush=True)
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
