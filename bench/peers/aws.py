"""aws-cli: `aws s3 sync`, which takes a file for the same by its size and time."""

from __future__ import annotations

from pathlib import Path

from bench.sync import AT_ONCE, PREFIX, Run, command, tool

PROGRAM = tool("aws")
# It makes ten requests at once by itself.
CONFIG = f"""
[default]
region = us-east-1
s3 =
  max_concurrent_requests = {AT_ONCE}
  addressing_style = path
"""


def run(folder: Path, url: str, bucket: str, settings: Path) -> Run:
    """`settings`: a folder for its configuration."""
    assert PROGRAM is not None
    config = settings / "aws"
    config.write_text(CONFIG)
    target = f"s3://{bucket}/{PREFIX}"
    asked = [
        PROGRAM,
        "s3",
        "sync",
        str(folder),
        target,
        "--endpoint-url",
        url,
        "--only-show-errors",
    ]
    return command(asked, {"AWS_CONFIG_FILE": str(config)})
