"""What an image is made of: its configuration and its layers, whichever engine holds it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foundry_cm.errors import USAGE, CmError

PLATFORM = "linux/amd64"
"""Compute modules run linux/amd64 images (Foundry documentation, "Containers")."""

MB = 1_000_000

# The grammar of the OCI distribution specification.
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*")
_REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:@-]*(?<!/)")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True)
class Layer:
    """One layer: the instruction that made it and its uncompressed size in bytes."""

    created_by: str
    size: int

    @property
    def instruction(self) -> str:
        """The Dockerfile instruction without the shell that engines put before it."""
        text = re.sub(r"\s*# buildkit$", "", self.created_by.split("#(nop)")[-1].strip())
        text = re.sub(r"\b(file|dir|multi):[0-9a-f]{64} in ", "to ", text)
        return re.sub(r"^(RUN )?/bin/sh -c ", "RUN ", text) or "(base image)"


@dataclass(frozen=True)
class Image:
    """An image's configuration (OCI image specification) and its layers, base first."""

    ref: str
    id: str
    os: str
    architecture: str
    user: str
    entrypoint: tuple[str, ...]
    cmd: tuple[str, ...]
    env: Mapping[str, str]
    ports: tuple[str, ...]
    layers: tuple[Layer, ...] = ()

    @property
    def size(self) -> int:
        """All layers together, in bytes, uncompressed."""
        return sum(layer.size for layer in self.layers)

    @property
    def command(self) -> tuple[str, ...]:
        """What a container of this image runs when nothing else is asked."""
        return self.entrypoint + self.cmd

    @classmethod
    def from_config(
        cls, ref: str, image_id: str, top: Mapping[str, Any], layers: Sequence[Layer]
    ) -> Image:
        """Read an image's configuration, in the spelling of docker and podman or of OCI."""
        config = top.get("Config") or top.get("config") or {}
        env = (entry.partition("=") for entry in config.get("Env") or ())
        return cls(
            ref=ref,
            id=image_id,
            os=top.get("Os") or top.get("os") or "",
            architecture=top.get("Architecture") or top.get("architecture") or "",
            user=config.get("User") or "",
            entrypoint=tuple(config.get("Entrypoint") or ()),
            cmd=tuple(config.get("Cmd") or ()),
            env={name: value for name, _, value in env},
            ports=tuple(config.get("ExposedPorts") or ()),
            layers=tuple(layers),
        )


def split_ref(ref: str) -> tuple[str, str]:
    """`NAME:TAG` as its two parts; the tag is empty when the reference has none."""
    name, colon, tag = ref.rpartition(":")
    if not colon or "/" in tag:
        return ref, ""
    return name, tag


def check_name(name: str) -> str:
    """The image name, when a registry takes it; otherwise a `CmError` that says why not."""
    if not _NAME.fullmatch(name):
        raise CmError(
            f'"{name}" is not a valid image name',
            fix="Use lower-case letters, digits and single . _ or - between them.",
            code="ImageName",
            exit_code=USAGE,
        )
    return name


def check_ref(ref: str) -> str:
    """The reference to an image here, by name or id; a `CmError` for what engines take for an option."""
    if not _REF.fullmatch(ref):
        raise CmError(
            f'"{ref}" is not an image',
            fix="Give the name that cm build prints, such as parts:1.0.",
            code="ImageName",
            exit_code=USAGE,
        )
    return ref


def check_tag(tag: str) -> str:
    """The tag, when Foundry runs it; otherwise a `CmError` that says why not.

    Foundry refuses to run an image by the tag `latest` (documentation, "Containers").
    """
    if tag == "latest":
        raise CmError(
            "Foundry does not run an image tagged latest",
            fix="Leave --tag out to get a tag from git, or give a version such as 1.4.0.",
            code="ImageTag",
            exit_code=USAGE,
        )
    if not _TAG.fullmatch(tag):
        raise CmError(
            f'"{tag}" is not a valid image tag',
            fix="Use letters, digits, . _ and -, at most 128, not starting with . or -.",
            code="ImageTag",
            exit_code=USAGE,
        )
    return tag


def human_size(size: int) -> str:
    """A size in MB (1,000,000 bytes), or in kB below one MB."""
    return f"{size / MB:,.1f} MB" if size >= MB else f"{size / 1000:,.1f} kB"
