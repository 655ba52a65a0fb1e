"""What `manage.py rqcron storefront.cron` enqueues, and when."""

from django.conf import settings
from django.core.management import call_command
from rq import cron

cron.register(
    call_command,
    queue_name="nightly",
    args=("clip_reindex",),
    kwargs={"queue": True},  # the job compares and waits, the workers of the queue "default" index
    cron=settings.NIGHTLY_RUN,
    job_timeout=12 * 3600,  # RQ's own is three minutes
)
