"""The machinery of the browser tests."""

import signal
import subprocess
import sys

from annlib.course.browsing.lab import stop

STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(60)
"""


def test_server_that_does_not_end_is_killed() -> None:
    command = [sys.executable, "-c", STUBBORN]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline() == "ready\n"
        stop(server, patience=0.1)
        assert server.returncode == -signal.SIGKILL
