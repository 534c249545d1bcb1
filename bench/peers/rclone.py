"""rclone: `rclone sync`, which takes a file for the same by its size and time, the latter asked for
with a request an object; or, with `--checksum`, by size and MD5."""

from __future__ import annotations

from pathlib import Path

from bench.sync import AT_ONCE, PREFIX, Run, command, tool

PROGRAM = tool("rclone")


def run(folder: Path, url: str, bucket: str, *options: str) -> Run:
    assert PROGRAM is not None
    # By itself four and eight at once, and it asks whether the bucket exists.
    at_once = ["--transfers", str(AT_ONCE), "--checkers", str(AT_ONCE), "--s3-no-check-bucket"]
    server = ["--s3-provider", "Other", "--s3-endpoint", url, "--s3-env-auth"]
    target = f":s3:{bucket}/{PREFIX}"
    asked = [PROGRAM, "sync", str(folder), target, "--config", "/dev/null", *server]
    return command([*asked, *at_once, *options], {})
