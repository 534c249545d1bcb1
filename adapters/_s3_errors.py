"""What an answer of S3 means that is no success, in our words.

Facts: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from adapters import _storage
from adapters._aws import ID
from adapters._base import Misconfigured, Refused, Unavailable, VendorError

# Codes that say nothing about the object, though they come with a 400. InvalidPart: another run
# asks which parts are there.
PASSING_CODES = {"RequestTimeout", "SlowDown", "InternalError", "IncompleteBody", "InvalidPart"}
CREDENTIAL_CODES = {"ExpiredToken", "InvalidToken", "AuthorizationHeaderMalformed"}
GARBLED_CODES = {"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch"}
# Of an error that is told within a 200; what is not here is a refusal.
STATUSES = {
    "InternalError": 500,
    "SlowDown": 503,
    "ServiceUnavailable": 503,
    "PreconditionFailed": 412,
    "ConditionalRequestConflict": 409,
    "OperationAborted": 409,
    "AccessDenied": 403,
    "NoSuchUpload": 404,
    "NoSuchBucket": 404,
    "NoSuchKey": 404,
    "NotImplemented": 501,
}


def answered(status: int, code: str) -> VendorError:
    """The error of an answer with that status and, where the body tells one, that code."""
    match status, code:
        case 404, "NoSuchBucket":
            return _storage.no_bucket()
        case 404, "NoSuchUpload":
            return _storage.upload_gone()
        case 403, "AccessDenied":
            return _storage.denied()
        case 403, "InvalidObjectState":
            # Of this object alone, where Misconfigured would pause the vendor for all.
            return Refused("the object is archived, restore it first", code="archived", status=403)
    if status in (301, 307):
        return elsewhere(status)
    return _of_a_400(code) if status == 400 else _storage.answered(status, ID)


def _of_a_400(code: str) -> VendorError:
    if code in CREDENTIAL_CODES:
        return Misconfigured(f"{ID} is not accepted for the bucket", status=400)
    if code in PASSING_CODES:
        return Unavailable("the vendor answered 400", status=400)
    return _storage.mismatch() if code in GARBLED_CODES else _storage.answered(400, ID)


def elsewhere(status: int | None) -> VendorError:
    # One job's bucket, where Misconfigured would pause the vendor for all.
    told = "AWS_REGION is not the region of the bucket"
    return Refused(told, code="bucket_elsewhere", status=status)


@contextmanager
def writing() -> Iterator[None]:
    """What is told of a condition concerns the target here. A 404: what was to be replaced is
    gone."""
    try:
        yield
    except VendorError as error:
        raise of_a_write(error) from error


def of_a_write(error: VendorError) -> VendorError:
    if error.code in ("source_changed", "not_found"):
        return _storage.target_changed(error.status)
    if error.status == 501:
        # Without conditions somebody must know that a concurrent change would be overwritten.
        return Misconfigured(
            "the server knows no conditional writes: see conditional_writes in vendors.toml",
            status=501,
        )
    return error
