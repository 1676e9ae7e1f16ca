"""What the server is told when it starts: where it listens, and how much it takes on."""

from __future__ import annotations

from ipaddress import ip_address
from socket import inet_aton
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from polyspan.answering.backend import Backend

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there, however the address is spelt."""
    try:
        address = ip_address(host)
    except ValueError:
        try:
            address = ip_address(inet_aton(host))  # "127.1" and "2130706433" are addresses to the system
        except (OSError, UnicodeError):
            return host_name(host) == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def host_name(host: str) -> str:
    """The name in ``name:port`` or ``[address]:port``, as names are compared."""
    name = host[1:].partition("]")[0] if host.startswith("[") else host
    if name.count(":") == 1:  # an address of version 6 has more
        name = name.partition(":")[0]
    return name.lower().rstrip(".")


class Limits(BaseModel):
    """What one request may ask for, and how many may wait; beyond it a request is refused with a reason.

    Attributes:
        body_bytes: of a request's body.
        body_seconds: in which a body, and before it the head of a request, must have arrived.
        characters: of all questions and texts of a request together.
        items: questions of a request.
        windows: stretches of up to 384 tokens that a request makes the model read; this is what it costs.
        top_k: answers a question.
        answer_seconds: from when a request has arrived whole to its answers, waiting included.
        requests: at work at the same time, being received included.
        queue_windows: that may wait for the model; a single request may exceed it when nothing waits.
        batch_windows: that are read together.
        batch_milliseconds: that a batch which is not full waits for company.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    body_bytes: int = Field(default=2_000_000, ge=100)
    body_seconds: float = Field(default=10.0, gt=0)
    characters: int = Field(default=200_000, ge=2)
    items: int = Field(default=64, ge=1)
    windows: int = Field(default=256, ge=1)
    top_k: int = Field(default=20, ge=1, le=1000)
    answer_seconds: float = Field(default=30.0, gt=0)
    requests: int = Field(default=512, ge=1)
    queue_windows: int = Field(default=128, ge=1)
    batch_windows: int = Field(default=32, ge=1)
    batch_milliseconds: float = Field(default=5.0, ge=0)


class Settings(BaseModel):
    """How the server runs.

    Attributes:
        model: shipped name, folder or hub id; the shipped default when None.
        backend: what runs it; what its folder is made for when None.
        host, port: where it listens; port 0 takes a free one.
        api_key: asked for under ``/v1`` and ``/metrics``; nobody is asked when None.
        allowed_hosts: names by which it may be called; on the loopback its own names are added, so that a
            foreign page cannot reach it under a name of its own (DNS rebinding); elsewhere any when empty.
        limits: see `Limits`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str | None = None
    backend: Backend | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    api_key: str | None = Field(default=None, min_length=8, repr=False)
    allowed_hosts: tuple[str, ...] = ()
    limits: Limits = Limits()

    @field_validator("allowed_hosts")
    @classmethod
    def _plain_names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if "/" in name or not host_name(name):
                raise ValueError(f"{name!r} is not the name of a host; write it without http:// and path")
        return tuple(map(host_name, names))

    @model_validator(mode="after")
    def _own_names(self) -> Self:
        if is_loopback(self.host):
            names = dict.fromkeys((*LOOPBACK, host_name(self.host), *self.allowed_hosts))
            object.__setattr__(self, "allowed_hosts", tuple(names))
        return self
