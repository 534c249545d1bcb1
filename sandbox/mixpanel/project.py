"""What does one Mixpanel project hold? Its events, each once, and the profiles of people."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from sandbox.ids import job_of
from sandbox.store import Table
from sandbox.vendor import World

Event = dict[str, Any]
VENDOR = "mixpanel"


@dataclass(slots=True)
class Profile:
    """What is known of one person."""

    id: str
    properties: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Settings:
    """`most_bytes`: a longer request is refused by 413, as by a proxy before Mixpanel."""

    most_bytes: int | None = None


class Project:
    """One project."""

    def __init__(self, world: World) -> None:
        self.settings = Settings()
        self.profiles = Table(world.journal, "mixpanel.profiles", Profile)
        self._effects = world.effects
        # Those of an earlier process are known by the log of effects.
        earlier = orjson.loads(world.effects.document(VENDOR, "event"))["effects"]
        self._known = {_identity(one["name"], one["user"], one["time"], one) for one in earlier}

    def take(self, events: Sequence[Event]) -> None:
        """Keeps those that are not known yet; what is repeated changes nothing, and is counted."""
        new: list[Event] = []
        again: list[Event] = []
        for given in events:
            properties = given["properties"]
            facts = {
                "reference": properties["$insert_id"],
                "job": job_of(properties["$insert_id"]),
                "user": properties["distinct_id"],
                "name": given["event"],
                "time": properties["time"],
            }
            identity = _identity(given["event"], facts["user"], facts["time"], facts)
            (again if identity in self._known else new).append(facts)
            self._known.add(identity)
        for kind, found in (("event", new), ("repeated_event", again)):
            if found:
                self._effects.record_many(VENDOR, kind, "", {}, found)

    def update(self, updates: Sequence[dict[str, Any]]) -> None:
        """Changes the profiles, in order."""
        for given in updates:
            user = given["$distinct_id"]
            profile = self.profiles.get(user) or Profile(user)
            for operation, value in given.items():
                _apply(profile.properties, operation, value)
            self.profiles.put(profile)
            self._effects.record(VENDOR, "person", user, user=user)


def _apply(properties: dict[str, Any], operation: str, value: Any) -> None:
    match operation:
        case "$set":
            properties.update(value)
        case "$set_once":
            properties.update({k: v for k, v in value.items() if k not in properties})
        case "$unset":
            for name in value:
                properties.pop(name, None)
        case "$delete":
            properties.clear()
        case "$add":
            for name, more in value.items():
                properties[name] = properties.get(name, 0) + more
        case "$append":
            for name, one in value.items():
                properties.setdefault(name, []).append(one)
        case "$union":
            for name, some in value.items():
                kept = properties.setdefault(name, [])
                kept.extend(one for one in some if one not in kept)


def _identity(name: str, user: str, time: float, facts: dict[str, Any]) -> tuple[Any, ...]:
    """What makes two events one: with another time it is another event."""
    return facts["reference"], name, user, time
