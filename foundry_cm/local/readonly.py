"""A command on a read-only root, where only a few folders can be written to.

`locked` gives the command that does it: in a namespace of mounts of its own, of which the rest of the
machine sees nothing. It runs this file by itself, so that nothing here needs more than Python.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

# What the kernel mounts stays as it is, in a container as well.
_OF_THE_KERNEL = ("/proc", "/sys", "/dev")


def why_not() -> str | None:
    """What keeps this process from making a root read-only, in a few words."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "that needs root on Linux"
    tried = ["unshare", "--mount", "true"]
    if not all(map(shutil.which, ("unshare", "mount"))):
        return "that needs unshare and mount"
    done = subprocess.run(tried, capture_output=True, text=True, check=False)
    return done.stderr.strip() or "unshare fails" if done.returncode else None


def locked(
    command: Sequence[str],
    *,
    writable: Iterable[str],
    inside: Iterable[str] = (),
    container: str | None = None,
) -> tuple[str, ...]:
    """The command, on a root where only the `writable` folders can be written to.

    `inside` are folders in those that stay read-only. With `container`, the root is that of a
    container of buildah, which the command runs.
    """
    options = [f"--writable={folder}" for folder in writable]
    options += [f"--inside={folder}" for folder in inside]
    options += [f"--container={container}"] if container else []
    # Isolated: the command is started in the folder of a module, of which nothing may be imported.
    program = (sys.executable, "-I", str(Path(__file__)), *options, "--", *command)
    return ("unshare", "--mount", "--propagation", "private", "--", *program)


@dataclass(frozen=True)
class _Root:
    """The root that becomes read-only, in the namespace of this process."""

    path: Path

    def lock(self, writable: Iterable[str], inside: Iterable[str]) -> None:
        if self.path == Path("/"):
            for folder in filter(_is_of_disks, _mounted()):
                # One that the kernel does not let go of is not the module's either.
                _mount("-o", "remount,bind,ro", folder, check=False)
        else:
            _mount("--bind", str(self.path), str(self.path))
        for names, how in ((writable, "rw"), (inside, "ro")):
            for folder in filter(None, map(self._within, names)):
                _mount("--bind", folder, folder)
                _mount("-o", f"remount,bind,{how}", folder)
        _mount("-o", "remount,bind,ro", str(self.path))

    def _within(self, name: str) -> str | None:
        """A folder of the root; none where there is none, or where a link leads out of the root."""
        found = (self.path / name.lstrip("/")).resolve()
        is_within = found != self.path and found.is_relative_to(self.path)
        return str(found) if is_within and found.is_dir() else None


def _mounted() -> list[str]:
    lines = Path("/proc/self/mounts").read_text("utf-8", errors="surrogateescape").splitlines()
    places = (line.split()[1] for line in lines)
    return [place.encode("utf-8", "surrogateescape").decode("unicode_escape") for place in places]


def _is_of_disks(place: str) -> bool:
    return place != "/" and not f"{place}/".startswith(tuple(f"{top}/" for top in _OF_THE_KERNEL))


def _mount(*argv: str, check: bool = True) -> None:
    subprocess.run(["mount", *argv], check=check, stderr=None if check else subprocess.DEVNULL)


def _main(argv: list[str]) -> None:
    cut = argv.index("--")
    given = [option.partition("=")[::2] for option in argv[:cut]]
    folders = {
        name: [value for option, value in given if option == name]
        for name in ("--writable", "--inside", "--container")
    }
    root = Path("/")
    for name in folders["--container"]:
        done = subprocess.run(["buildah", "mount", name], stdout=subprocess.PIPE, check=True)
        root = Path(os.fsdecode(done.stdout).strip())
    here = Path.cwd()
    _Root(root).lock(folders["--writable"], folders["--inside"])
    os.chdir(here)  # as it is mounted now
    command = argv[cut + 1 :]
    os.execvp(command[0], command)  # noqa: S606


if __name__ == "__main__":
    _main(sys.argv[1:])
