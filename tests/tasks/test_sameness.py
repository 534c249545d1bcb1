"""What proves that two ends hold the same content, and what does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from adapters._storage import SHA256, SOURCE_ETAG
from tasks._ends import End, Entry
from tasks._sameness import compare, same

ONE, TWO = "1" * 32, "2" * 32


def entry(etag: str | None = None, size: int = 1, **digests: str) -> Entry:
    return Entry(
        "a", size, etag=etag, digests={name.replace("_", "-"): d for name, d in digests.items()}
    )


@pytest.mark.parametrize(
    ("source", "target", "loosely", "strictly"),
    [
        (entry(size=1, md5=ONE), entry(size=2, md5=ONE), False, False),
        (entry(size=0), entry(size=0), True, True),
        (entry(), entry(), False, False),
        (entry(md5=ONE), entry(md5=ONE), True, True),
        (entry(md5=ONE), entry(md5=TWO), False, False),
        # One digest that differs outweighs one that does not.
        (entry(md5=ONE, crc32c="1"), entry(md5=ONE, crc32c="2"), False, False),
        # Of two multipart objects alone the tag is known, and of a copy that of its source.
        (entry(f"{ONE}-2"), entry(f"{ONE}-2"), True, False),
        (entry(f"{ONE}-2"), entry(f"{TWO}-1", ferryman_source_etag=f"{ONE}-2"), True, False),
        # What we have written beside it may have been kept while the content was replaced.
        (entry(md5=ONE, ferryman_sha256="a"), entry(md5=TWO, ferryman_sha256="a"), False, False),
        (entry(ONE, md5=ONE), entry(TWO, md5=TWO, ferryman_source_etag=ONE), False, False),
        (entry(ferryman_sha256="a"), entry(ferryman_sha256="a"), True, True),
        (entry(ferryman_sha256="a"), entry(ferryman_sha256="b"), False, False),
        (entry(md5=ONE), entry(sha256="a"), False, False),
    ],
)
def test_what_is_known_of_both(source: Entry, target: Entry, loosely: bool, strictly: bool) -> None:
    assert same(source, target) is loosely
    assert same(source, target, strict=True) is strictly


class Place:
    """An end that knows digests of its files, or more of its objects when it is asked."""

    def __init__(self, place: str, looked: Entry | None = None, **digests: str) -> None:
        self.place = place
        self.asked: list[str] = []
        self._looked = looked
        self._digests = digests

    async def digest(self, entry: Entry, algorithm: str) -> str | None:
        if self.place != "file":
            return None
        self.asked.append(algorithm)
        return self._digests.get(algorithm, "other")

    async def look(self, entry: Entry) -> Entry | None:
        self.asked.append("look")
        return self._looked


async def compared(source: Place, one: Entry, target: Place, two: Entry, **how: Any) -> bool:
    found = await compare(cast(End, source), one, cast(End, target), two, **how)
    return found is not None


async def test_a_file_is_hashed_for_what_the_listing_tells() -> None:
    folder, bucket = Place("file", md5=ONE), Place("s3")
    assert await compared(folder, entry(), bucket, entry(ONE, md5=ONE))
    assert (folder.asked, bucket.asked) == (["md5"], [])
    folder.asked.clear()
    assert await compared(bucket, entry(ONE, md5=ONE), folder, entry())
    assert (folder.asked, bucket.asked) == (["md5"], [])


async def test_what_the_listing_cannot_prove_is_asked_for_once() -> None:
    known = replace(entry(TWO), attributes={SHA256: "a"})
    folder, bucket = Place("file", sha256="a"), Place("s3", known)
    assert await compared(folder, entry(), bucket, entry(TWO, md5=TWO))
    assert (folder.asked, bucket.asked) == (["md5", "sha256"], ["look"])


async def test_what_nobody_knows_is_not_the_same() -> None:
    folder, bucket = Place("file"), Place("s3", replace(entry(TWO), attributes={}))
    assert not await compared(folder, entry(), bucket, entry(f"{TWO}-2"))
    assert not await compared(folder, entry(), bucket, replace(entry(), attributes={}))
    assert bucket.asked == ["look"]


async def test_a_digest_of_the_vendor_comes_before_ours() -> None:
    """Ours may have been kept while the content was replaced."""
    folder, bucket = Place("file", sha256="a", md5=ONE), Place("gs")
    target = replace(entry(TWO, md5=TWO), attributes={SHA256: "a"})
    assert not await compared(folder, entry(), bucket, target)
    assert not await compared(folder, entry(), bucket, target, strict=True)


async def test_a_tag_that_proves_to_be_no_md5_leaves_it_to_what_we_have_written() -> None:
    """With a customer's key: the listings do not tell that, a look does."""
    source = Place("s3", replace(entry(ONE), attributes={}))
    target = Place("s3", replace(entry(TWO), attributes={SOURCE_ETAG: ONE}))
    assert await compared(source, entry(ONE, md5=ONE), target, entry(TWO, md5=TWO))
    assert (source.asked, target.asked) == (["look"], ["look"])


async def test_two_files_are_both_hashed() -> None:
    one, two = Place("file", sha256="a"), Place("file", sha256="a")
    assert await compared(one, entry(), two, entry())
    assert not await compared(one, entry(), Place("file", sha256="b"), entry())


def test_the_ledger_keeps_what_we_have_written_beside_an_object() -> None:
    known = {SHA256: "a", SOURCE_ETAG: "b", "owner": "me"}
    told = replace(entry(md5=ONE), attributes=known).told
    assert told == {"md5": ONE, SHA256: "a", SOURCE_ETAG: "b"}
