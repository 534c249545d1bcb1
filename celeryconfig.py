# How Celery runs ferryman's worker: data only. Addresses come from the environment.

# A message carries a job's id and nothing else; pickle is never read.
accept_content = ["json"]
task_serializer = "json"
result_serializer = "json"

# One asyncio loop a process, with hundreds of calls in flight.
worker_pool = "worker.pool:LoopPool"
worker_prefetch_multiplier = 1

# The ledger is the result; AsyncResult(job_id) reads it.
result_backend = "worker.results:LedgerBackend"
task_ignore_result = True

# Acknowledged early: the lease in the ledger brings back what a dead worker held. Late
# acknowledgement would add nothing, and makes a busy worker exit when the broker restarts.
task_acks_late = False
worker_cancel_long_running_tasks_on_connection_loss = False
broker_connection_retry_on_startup = True
broker_connection_max_retries = None

# What Flower shows.
worker_send_task_events = True
worker_enable_remote_control = True

task_default_queue = "ferryman"
task_create_missing_queues = False
worker_hijack_root_logger = False
worker_redirect_stdouts = False
worker_proc_alive_timeout = 10
enable_utc = True
timezone = "UTC"
broker_transport_options = {
    # kombu would keep each message a second time in Redis until it is acknowledged, a fifth of the
    # worker's CPU; the relay publishes again what a dead worker had in its memory.
    "ack_emulation": False,
    "socket_connect_timeout": 5,
    "socket_timeout": 30,
    "health_check_interval": 25,
    "priority_steps": [0],
    # Round robin over the queues of the vendors for which this process has room.
    "queue_order_strategy": "worker.intake:OpenQueues",
}
