"""docker, podman and buildah behind one set of verbs.

Each verb gives a `Command`, so that what `--dry-run` prints is what would run. Builds are always
for linux/amd64; images are run with the host's network and never pulled.
"""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from foundry_cm.errors import USAGE, CmError, near_miss
from foundry_cm.image.command import Command
from foundry_cm.image.image import PLATFORM, Image, Layer
from foundry_cm.local.readonly import locked
from foundry_cm.module.places import read_file


@dataclass(frozen=True)
class Secret:
    """A build secret: mounted while the image is built, in no layer of it afterwards."""

    id: str
    env: str | None = None
    src: str | None = None

    @classmethod
    def parse(cls, text: str) -> Secret:
        """Read `id=NAME,env=VARIABLE` or `id=NAME,src=FILE`, the form that docker takes."""
        fields = dict(part.partition("=")[::2] for part in text.split(","))
        given = set(fields)
        if given not in ({"id", "env"}, {"id", "src"}) or not all(fields.values()):
            raise CmError(
                f'--secret "{text}" is not understood',
                fix="Write id=NAME,env=VARIABLE or id=NAME,src=FILE.",
                code="Secret",
                exit_code=USAGE,
            )
        return cls(fields["id"], fields.get("env"), fields.get("src"))


@dataclass(frozen=True)
class Container:
    """How to run an image once: what goes before, the foreground process, what goes after."""

    before: tuple[Command, ...]
    run: Command
    after: tuple[Command, ...]
    # Finds the id of its main process, where that is no child of `run`.
    process: Callable[[], int | None] | None = None


class Engine:
    """The verbs in docker's spelling; podman and buildah change what they spell differently."""

    name: ClassVar[str] = "docker"
    host_alias: ClassVar[str] = "host.docker.internal"

    def version(self) -> str:
        """The version of the engine that answers; raises `CmError` when none does."""
        return self._command("version", "--format", "{{.Server.Version}}").output().strip()

    def build(
        self,
        context: Path,
        tag: str,
        *,
        secrets: Iterable[Secret] = (),
        extra: Sequence[str] = (),
    ) -> Command:
        """Build the Dockerfile of `context` for linux/amd64 and name the image `tag`."""
        given = tuple(part for secret in secrets for part in ("--secret", self._secret(secret)))
        named = ("--platform", PLATFORM, "--tag", tag)
        verb, env = self._build_verb()
        return Command((self.name, *verb, *named, *given, *extra, str(context)), env=env)

    def inspect(self, ref: str) -> Image:
        """The image's configuration and layers; raises `CmError` when it is not here."""
        text = self._present(ref, "image", "inspect", ref)
        (top,) = json.loads(text)
        return Image.from_config(ref, top["Id"], top, self._layers(ref))

    def tag(self, ref: str, new: str) -> Command:
        """Give the image a second name."""
        return self._command("tag", ref, new)

    def login(self, host: str, user: str, token_env: str, auth: Path) -> Command:
        """Log in to a registry, the token by standard input, the credentials kept in `auth`."""
        return Command(
            (self.name, "login", "--username", user, "--password-stdin", host),
            stdin_env=token_env,
            env=self._auth(auth),
        )

    def prepare(self, auth: Path) -> None:
        """Make `auth` a place for one login.

        What tells docker where its engine is comes along; stored credentials do not. Raises
        `CmError` for a configuration that docker could not read either.
        """
        home = Path.home() / ".docker"
        known: dict[str, object] = {}
        if (home / "config.json").is_file():
            known = read_file(home / "config.json")
        kept = {key: known[key] for key in ("currentContext", "proxies") if key in known}
        (auth / "config.json").write_text(json.dumps(kept), "utf-8")
        if (home / "contexts").is_dir():
            (auth / "contexts").symlink_to(home / "contexts")

    def push(self, ref: str, digest_file: Path, auth: Path) -> Command:
        """Push the image with the credentials in `auth`."""
        del digest_file  # docker keeps the digest with the image
        return Command((self.name, "push", ref), env=self._auth(auth))

    def digest(self, ref: str, digest_file: Path) -> str:
        """The digest that the registry gave the pushed image, such as `sha256:...`."""
        del digest_file
        (top,) = json.loads(self._command("image", "inspect", ref).output())
        name = ref.rpartition(":")[0]
        for known in top.get("RepoDigests") or ():
            if known.startswith(f"{name}@"):
                return str(known.partition("@")[2])
        raise CmError(f"docker knows no digest for {ref}", code="EngineFailed")

    def container(
        self,
        image: Image,
        name: str,
        *,
        command: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        mounts: Mapping[Path, str] | None = None,
        writable: Sequence[str] | None = None,
    ) -> Container:
        """Run the image as its own user: its command, or `command` in place of it.

        `env` is handed over by name, so that values appear in no process list; `mounts` maps
        folders or files here to read-only paths inside. With `writable`, all but these folders of
        the image is read-only.
        """
        entry = ("--entrypoint", command[0]) if command else ()
        # A volume without a name begins with what the image has there, and goes with the container.
        volumes = (part for folder in writable or () for part in ("--volume", folder))
        locked = () if writable is None else ("--read-only", *volumes)
        network = ("--network", "host") if sys.platform == "linux" else ()
        argv = (
            *(self.name, "run", "--rm", "--name", name, "--pull", "never"),
            *("--platform", PLATFORM, *network, *locked, *_handed(env or (), mounts), *entry),
            *(image.ref, *command[1:]),
        )
        return Container(
            (),
            Command(argv, env=dict(env or {})),
            (self.remove(name),),
            lambda: self.process(name),
        )

    def process(self, name: str) -> int | None:
        """The id of a container's main process; None where it has none that this machine sees.

        On macOS and Windows containers run in a virtual machine.
        """
        if sys.platform != "linux":
            return None
        try:
            return (
                int(self._command("inspect", "--format", "{{.State.Pid}}", name).output()) or None
            )
        except (CmError, ValueError):
            return None

    def remove(self, name: str) -> Command:
        """Remove a container, running or not, and its volumes without a name."""
        return self._command("rm", "--force", "--volumes", name)

    def home(self, image: Image) -> str:
        """The home of an image's user, as its shell says; raises `CmError` where that fails."""
        asks = ("sh", "-c", 'printf %s "$HOME"')
        container = self.container(image, f"cm-home-{secrets.token_hex(4)}", command=asks)
        try:
            for command in container.before:
                command.output()
            return container.run.output()
        finally:
            for command in container.after:
                command.attempt()

    def host_name(self) -> str:
        """The name by which a container reaches a server on this machine's loopback.

        On Linux containers share the host's network; elsewhere they run in a virtual machine,
        which forwards a name of its own to the host.
        """
        return "localhost" if sys.platform == "linux" else self.host_alias

    def _command(self, *argv: str) -> Command:
        return Command((self.name, *argv))

    def _build_verb(self) -> tuple[tuple[str, ...], dict[str, str]]:
        """How a build begins, and the environment it needs.

        Provenance attestations are left out: they turn a pushed image into an index of several
        manifests, and Foundry documents single images only.
        """
        buildx = ("buildx", "build", "--load", "--provenance=false")
        return buildx if self._has_buildx() else ("build",), {"DOCKER_BUILDKIT": "1"}

    def _has_buildx(self) -> bool:
        try:
            self._command("buildx", "version").output()
        except CmError:
            return False
        return True

    def _secret(self, secret: Secret) -> str:
        origin = f"env={secret.env}" if secret.env else f"src={secret.src}"
        return f"id={secret.id},{origin}"

    def _present(self, ref: str, *argv: str) -> str:
        try:
            return self._command(*argv).output()
        except CmError as error:
            raise CmError(
                f"{self.name} has no image {ref}",
                fix="cm build makes it, and prints its name.",
                code="ImageMissing",
                exit_code=USAGE,
                details=error.details,
            ) from error

    def _layers(self, ref: str) -> list[Layer]:
        argv = ("history", "--no-trunc", "--human=false", "--format", "{{json .}}", ref)
        rows = [json.loads(line) for line in self._command(*argv).output().splitlines()]
        layers = [Layer(row["CreatedBy"], int(float(row["Size"]))) for row in reversed(rows)]
        return [layer for layer in layers if layer.size]

    def _auth(self, auth: Path) -> dict[str, str]:
        """Where this one login is kept, so that the token stays in no user's file."""
        return {"DOCKER_CONFIG": str(auth)}


class Podman(Engine):
    """podman: docker's spelling, with podman's own build secrets, history and credentials."""

    name: ClassVar[str] = "podman"
    host_alias: ClassVar[str] = "host.containers.internal"

    def version(self) -> str:
        """The version of the engine that answers; raises `CmError` when none does."""
        return self._command("info", "--format", "{{.Version.Version}}").output().strip()

    def prepare(self, auth: Path) -> None:
        """Nothing: podman and buildah make the file that they keep a login in."""

    def push(self, ref: str, digest_file: Path, auth: Path) -> Command:
        """Push the image with the credentials in `auth`; the digest goes to `digest_file`."""
        return Command(
            (self.name, "push", "--digestfile", str(digest_file), ref), env=self._auth(auth)
        )

    def digest(self, ref: str, digest_file: Path) -> str:
        """The digest that the registry gave the pushed image, such as `sha256:...`."""
        del ref
        return digest_file.read_text("utf-8").strip()

    def _build_verb(self) -> tuple[tuple[str, ...], dict[str, str]]:
        # A layer for each instruction, so that a rebuild reuses them.
        return ("build", "--layers", "--format", "docker"), {}

    def _secret(self, secret: Secret) -> str:
        if secret.env:
            return f"id={secret.id},type=env,src={secret.env}"
        return f"id={secret.id},src={secret.src}"

    def _layers(self, ref: str) -> list[Layer]:
        argv = ("history", "--no-trunc", "--human=false", "--format", "json", ref)
        rows = json.loads(self._command(*argv).output())
        layers = [Layer(row["CreatedBy"], int(row["size"])) for row in reversed(rows)]
        return [layer for layer in layers if layer.size]

    def _auth(self, auth: Path) -> dict[str, str]:
        return {"REGISTRY_AUTH_FILE": str(auth / "auth.json")}


class Buildah(Podman):
    """buildah: no daemon; a container is made first, and its command is given to `run`."""

    name: ClassVar[str] = "buildah"

    def version(self) -> str:
        """The version of the engine that answers; raises `CmError` when none does."""
        self._command("info").output()
        return str(json.loads(self._command("version", "--json").output())["version"])

    def inspect(self, ref: str) -> Image:
        """The image's configuration and layers; raises `CmError` when it is not here."""
        top = json.loads(self._present(ref, "inspect", "--type", "image", ref))
        instructions = [
            step.get("created_by", "")
            for step in top["OCIv1"].get("history") or ()
            if not step.get("empty_layer")
        ]
        layers = map(Layer, instructions, self._layer_sizes(ref))
        return Image.from_config(ref, top["FromImageID"], top["OCIv1"], list(layers))

    def container(
        self,
        image: Image,
        name: str,
        *,
        command: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        mounts: Mapping[Path, str] | None = None,
        writable: Sequence[str] | None = None,
    ) -> Container:
        """Run the image as its own user: its command, or `command` in place of it.

        buildah takes variables with their values only (measured with 1.28), so they are on its
        command line, which other users of this machine can read. It knows no read-only root: that
        is made around it, after a first run has made the places of its mounts.
        """
        made = self._command("from", "--pull-never", "--name", name, image.ref)
        values = [f"{key}={value}" for key, value in (env or {}).items()]
        run = (self.name, "run", "--network", "host", *_handed(values, mounts), name, "--")
        argv = (*run, *(command or image.command))
        if writable is None:
            return Container((made,), Command(argv), (self.remove(name),))
        first = Command((*run, "sh", "-c", ":"))
        # buildah itself writes a file into /run.
        argv = locked(argv, writable=[*writable, "/run"], container=name)
        return Container((made, first), Command(argv), (self.remove(name),))

    def remove(self, name: str) -> Command:
        """Remove a container, running or not."""
        return self._command("rm", name)

    def _layer_sizes(self, ref: str) -> list[int]:
        """buildah prints no layer sizes; a copy of the image without compression has them."""
        with tempfile.TemporaryDirectory(prefix="cm-layers-") as folder:
            self._command("push", "--quiet", "--disable-compression", ref, f"dir:{folder}").output()
            manifest = json.loads((Path(folder) / "manifest.json").read_text("utf-8"))
        return [int(layer["size"]) for layer in manifest["layers"]]


ENGINES: dict[str, type[Engine]] = {engine.name: engine for engine in (Engine, Podman, Buildah)}


def find_engine(preferred: str | None = None) -> Engine:
    """The engine asked for, or the first of docker, podman and buildah that answers.

    Raises `CmError` that says of each one why it cannot be used.
    """
    if preferred is not None and preferred not in ENGINES:
        raise CmError(
            f'"{preferred}" is not a container engine that cm knows',
            fix=near_miss(preferred, ENGINES),
            code="EngineUnknown",
            exit_code=USAGE,
        )
    reasons = []
    for name in [preferred] if preferred else list(ENGINES):
        if shutil.which(name) is None:
            reasons.append(f"{name}: not installed")
            continue
        engine = ENGINES[name]()
        try:
            engine.version()
        except CmError as error:
            reasons.append(f"{name}: {error.what}")
        else:
            return engine
    raise CmError(
        "no container engine answers: " + "; ".join(reasons),
        fix="Start docker, or install podman or buildah (Debian: apt-get install buildah). "
        "Without one, let Foundry build the image: DEPLOY.md, Code Repositories.",
        code="EngineMissing",
    )


def _handed(env: Iterable[str], mounts: Mapping[Path, str] | None) -> tuple[str, ...]:
    names = (part for variable in env for part in ("--env", variable))
    mounted = (f"{here}:{there}:ro,z" for here, there in (mounts or {}).items())
    volumes = (part for volume in mounted for part in ("--volume", volume))
    return (*names, *volumes)
