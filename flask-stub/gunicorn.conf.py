"""gunicorn's settings and hooks; gunicorn finds this file by its name."""

import os
import shutil

from p2k16 import logs
from p2k16.config import THREADS

# prometheus-client looks for this directory when it is imported, and must not find what an earlier run left.
# A reload (HUP) reads this file again: the counts of the workers that go on must survive it.
if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = "/tmp/metrics"
    shutil.rmtree("/tmp/metrics", ignore_errors=True)
    os.makedirs("/tmp/metrics")

bind = "0.0.0.0:5000"
worker_class = "gthread"
workers = 2
threads = THREADS

# The application is imported once and shared by the workers: half the start-up time and memory.
# It opens nothing that a fork would break; what it needs is opened in post_worker_init.
preload_app = True

# nginx closes its idle connections after 60 s: the side that sends requests has to be the one that hangs up.
keepalive = 75
graceful_timeout = 5
# A container that was paused longer than this would come back to have its workers killed.
timeout = 120
worker_tmp_dir = "/dev/shm"
limit_request_line = 8190

logconfig_dict = logs.config()


def post_worker_init(worker):
    worker.wsgi.extensions["p2k16"].open()


def worker_exit(server, worker):
    # A worker that failed to start has no application.
    if worker.wsgi is not None:
        worker.wsgi.extensions["p2k16"].close()


def child_exit(server, worker):
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)
