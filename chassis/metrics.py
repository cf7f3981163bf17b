"""What is measured of every service (Prometheus)."""

from prometheus_client import Counter, Gauge, Histogram

handled = Counter("kopilka_records_handled_total", "Records handled.", ["group", "type"])
repeated = Counter("kopilka_records_repeated_total", "Records that the inbox knew already.", ["group"])
skipped = Counter("kopilka_records_skipped_total", "Records of types that the group does not hear.", ["group", "topic"])
handling_s = Histogram(
    "kopilka_handling_seconds",
    "Time in a handler, a call (one record or a whole layer of a batch).",
    ["group", "type"],
)
batch_records = Histogram(
    "kopilka_batch_records", "Records in a batch.", ["group"], buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000)
)
batch_s = Histogram("kopilka_batch_seconds", "From the first try of a batch to its database commit.", ["group"])
retries = Counter("kopilka_retries_total", "Tries repeated after infrastructure trouble.", ["group", "of"])
dead_letters = Counter(
    "kopilka_dead_letters_total", "Records that could not be processed.", ["group", "topic", "reason"]
)
halted = Gauge("kopilka_worker_halted", "1 while the worker stands still because of too many dead letters.", ["group"])
waiting_age_s = Gauge(
    "kopilka_waiting_age_seconds", "Age of the record that waits longest for what it needs; 0: none waits.", ["service"]
)
waited_too_long = Counter(
    "kopilka_waited_too_long_total", "Records that became dead letters because what they need never came.", ["service"]
)
lag_records = Gauge(
    "kopilka_lag_records", "Records that are published and not yet handled.", ["group", "topic", "partition"]
)
published = Counter("kopilka_records_published_total", "Records that the relay published.", ["service", "topic"])
relay_leads = Gauge("kopilka_relay_leads", "1 while this process is the one that publishes.", ["service"])
outbox_age_s = Gauge("kopilka_outbox_age_seconds", "Age of the oldest record that waits to be published.", ["service"])
job_s = Histogram("kopilka_job_seconds", "Time of a job's run.", ["service", "job"])
job_failures = Counter("kopilka_job_failures_total", "Runs of a job that failed.", ["service", "job"])
