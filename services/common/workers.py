"""What a worker process does that one process alone need not."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading


def leave_with_supervisor() -> None:
    """Stop serving when the process that started this worker has died.

    Otherwise it would hold the port, and nobody would replace it. Does nothing
    in a process that is no worker.
    """
    supervisor = multiprocessing.parent_process()
    if supervisor is None:
        return

    def wait() -> None:
        supervisor.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="supervisor-watch", daemon=True).start()
