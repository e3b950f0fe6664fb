"""A real S3 server on this machine, for tests."""

import contextlib
import os
import subprocess
import sys

# It prints its port and serves until its standard input ends: also when the tests are killed.
_SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextlib.contextmanager
def serving():
    """A function from a path, bucket first, to its URI at the server. Buckets are made at need."""
    # In a process of its own: pyarrow may close a stream while it holds the interpreter's lock.
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    before = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        port = server.stdout.readline().strip()
        options = f"endpoint_override=127.0.0.1:{port}&scheme=http"
        yield (
            lambda path, make=True: f"s3://{path}?{options}" + ("&allow_bucket_creation=true" if make else "")
        )
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.__setitem__(name, value)
        server.communicate()
