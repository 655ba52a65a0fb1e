"""Health checks of the containers: exit with status 0 if the process of this container works.

    python healthcheck.py web 8000          the web server on this port answers
    python healthcheck.py worker default    a worker of this queue reports to Redis
    python healthcheck.py cron              rqcron reports to Redis

It does not load Django, because a check is made every few seconds.
"""

from __future__ import annotations

import http.client
import os
import socket
import sys

from redis import Redis
from rq.cron import CronScheduler
from rq.worker import Worker

SECONDS = 5


def main(kind: str, name: str = "") -> bool:
    """Return True if the process works."""
    if kind == "web":
        # The home page and not a search, because the shop works without search when Qdrant is down.
        connection = http.client.HTTPConnection("127.0.0.1", int(name), timeout=SECONDS)
        connection.request("GET", "/", headers={"Host": "localhost"})
        return connection.getresponse().status == 200
    # Redis forgets an EmbeddingWorker that does not report after one minute, or five in a job; RQ's own
    # worker, which runs the nightly job, after 8 or 11; and rqcron after two.
    redis = Redis.from_url(os.environ["CLIP_SEARCH_DEMO_REDIS_URL"], socket_timeout=SECONDS)
    if kind == "cron":
        hosts = [scheduler.hostname for scheduler in CronScheduler.all(redis)]
    else:
        hosts = [worker.hostname for worker in Worker.all(connection=redis) if name in worker.queue_names()]
    return socket.gethostname() in hosts


if __name__ == "__main__":
    if not main(*sys.argv[1:]):
        sys.exit(f"Unhealthy: {' '.join(sys.argv[1:])}")
