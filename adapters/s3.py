"""S3 and servers that speak its language: objects. obstore carries the bytes, our own transport
the listings. Facts: Amazon S3's API reference, 2006-03-01."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus, urlencode
from xml.etree import ElementTree

from obstore.store import S3Store

from adapters import _base
from adapters._aws import ID, SECRET, SERVES, TOKEN, find, region, signed
from adapters._base import Call, Misconfigured, Request, Response, Unavailable
from adapters._identity import Identity
from adapters._obstore import Bucket, answered
from adapters._storage import Content, Stored
from ferryman.policies import policy

if TYPE_CHECKING:
    from botocore.credentials import ReadOnlyCredentials
    from obstore.store import S3Credential

MOST_BUCKETS = 64
# What S3 gives at most: https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
PAGE_KEYS = 1000


class Adapter(_base.Adapter):
    vendor = "s3"
    base_url = "https://s3.{region}.amazonaws.com"
    base_url_variable = "S3_BASE_URL"
    secrets = (ID, SECRET, TOKEN)

    def __init__(self) -> None:
        self._identity = Identity("aws", find)
        self._buckets: OrderedDict[tuple[str, ...], Bucket] = OrderedDict()

    def address(self) -> str:
        return super().address().format(region=region())

    async def list(self, call: Call, bucket: str, prefix: str) -> AsyncIterator[Stored]:
        """Not by obstore: one key with `..` or a control character would end its listing."""
        token = ""
        while True:
            page = await self._page(call, bucket, prefix, token)
            for found in page.iterfind("{*}Contents"):
                yield _stored(found)
            token = page.findtext("{*}NextContinuationToken") or ""
            if not token:
                return

    async def attributes(self, call: Call, bucket: str, key: str) -> Mapping[str, str]:
        return await (await self._bucket(bucket)).attributes(call, key)

    async def get(self, call: Call, bucket: str, stored: Stored) -> Content:
        return await (await self._bucket(bucket)).get(call, stored)

    async def put(self, call: Call, bucket: str, key: str, content: Content) -> str | None:
        return await (await self._bucket(bucket)).put(call, key, content)

    async def delete(self, call: Call, bucket: str, key: str) -> None:
        await (await self._bucket(bucket)).delete(call, key)

    async def _page(self, call: Call, bucket: str, prefix: str, token: str) -> ElementTree.Element:
        asked = {
            "list-type": "2",
            "encoding-type": "url",
            "max-keys": str(PAGE_KEYS),
            "prefix": prefix,
        }
        if token:
            asked["continuation-token"] = token
        url = f"{self.address()}/{bucket}?{urlencode(asked, quote_via=quote)}"
        proof = signed(url, await self._keys())
        try:
            answer = await call.read(Request("GET", url, {}), credentials=proof)
        except Misconfigured as error:
            raise answered(error.status or 403, "", ID) from error
        return _parsed(answer)

    async def _bucket(self, name: str) -> Bucket:
        """The bucket's client. One made with other settings than today's is not used again."""
        # obstore asks too, but tells of a failure there as of one on the wire.
        await self._keys()
        known = (name, self.address(), self.fingerprint())
        if known not in self._buckets:
            url = f"{known[1]}/{name}"
            self._buckets[known] = Bucket(self._store(name, known[1]), self.vendor, url, ID)
            if len(self._buckets) > MOST_BUCKETS:
                self._buckets.popitem(last=False)
        return self._buckets[known]

    def _store(self, name: str, endpoint: str) -> S3Store:
        numbers = policy(self.vendor)
        return S3Store(
            name,
            config={
                "endpoint": endpoint,
                "region": region(),
                "virtual_hosted_style_request": False,
            },
            client_options={
                # The operator's choice, since the address never comes from a job.
                "allow_http": endpoint.startswith("http://"),
                "connect_timeout": timedelta(seconds=numbers.connect_seconds),
                "timeout": timedelta(seconds=numbers.timeout_seconds),
            },
            # Exactly one layer retries: the job.
            retry_config={"max_retries": 0},
            credential_provider=self._credential,
        )

    async def _credential(self) -> S3Credential:
        keys = await self._keys()
        return {
            "access_key_id": keys.access_key,
            "secret_access_key": keys.secret_key,
            "token": keys.token,
            # Asked again by then, whether or not they expire: that costs nothing.
            "expires_at": datetime.now(UTC) + SERVES,
        }

    async def _keys(self) -> ReadOnlyCredentials:
        return (await self._identity.found(self.fingerprint())).keys


def _parsed(answer: Response) -> ElementTree.Element:
    try:
        # expat itself bounds what entities may grow to.
        document = ElementTree.fromstring(answer.body)  # noqa: S314
    except ElementTree.ParseError as error:
        if answer.status != 200:
            raise answered(answer.status, "", ID) from error
        raise Unavailable("the vendor's listing cannot be read", status=200) from error
    if answer.status != 200:
        raise answered(answer.status, document.findtext("{*}Code") or "", ID)
    return document


def _stored(found: ElementTree.Element) -> Stored:
    def text(name: str) -> str:
        return found.findtext(f"{{*}}{name}") or ""

    return Stored(
        # Encoded as in forms: some characters of a key have no place in XML.
        key=unquote_plus(text("Key")),
        size=int(text("Size")),
        last_modified=datetime.fromisoformat(text("LastModified")),
        etag=text("ETag") or None,
    )
