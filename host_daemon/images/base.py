"""Building a guest's base from its recipe: kernel, initrd and root file system."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from host_daemon.images.apt import host_options, host_sources
from host_daemon.images.initrd import make_initrd
from host_daemon.images.progress import BuildProgress
from host_daemon.images.recipe import Recipe
from host_daemon.images.runner import Runner, require_programs
from host_daemon.images.wheels import install_wheels
from vaccel import bounds
from vaccel.errors import HostFault

# Part of every digest: raise it when this package builds something else from the same recipe.
BUILDER: Final = "1"
_HOOKS: Final = Path("/usr/share/mmdebstrap/hooks")
_PLACE: Final = "vaccel-build"


async def build_base(
    run: Runner, recipe: Recipe, requirements: str, work: Path, progress: BuildProgress
) -> Path:
    """Build into ``work/out``: kernel, initrd, root.img. Returns that folder.

    Raises HostFault with the last lines of the program that failed; the caller removes ``work``.
    """
    progress.step("fetching the guest's Python packages", 0.0)
    # All that can be known to fail is asked first, before minutes have gone into the rest.
    require_programs(("mmdebstrap", "mke2fs", "dpkg-deb", "tar"))
    mode, sources = _mode(), await host_sources(run, recipe.suite)
    stage, out = work / _PLACE, work / "out"
    stage.mkdir()
    out.mkdir()
    await install_wheels(run, requirements, recipe.python, recipe.platforms, stage / "site")
    (stage / "site.txt").unlink(missing_ok=True)
    shutil.copytree(recipe.folder / "root", stage / "root", symlinks=True)
    shutil.copy2(recipe.folder / "assemble", stage / "assemble")
    settings = {
        "KERNEL_PACKAGE": recipe.kernel_package,
        "PYTHON": recipe.python,
        "ROOT_MIB": str(recipe.root_mib),
    }
    lines = [f"{key}={shlex.quote(value)}\n" for key, value in settings.items()]
    (stage / "settings").write_text("".join(lines))
    listing = work / "sources.list"
    listing.write_text("\n".join(sources) + "\n")
    command = [*_mmdebstrap(recipe, mode, stage, work), *await _apt_options(run, sources)]
    command += [recipe.suite, "/dev/null", str(listing)]
    await run(command, timeout=bounds.IMAGE_BUILD_SECONDS, on_line=progress.line)
    progress.step("making the initrd", 0.97)
    await _finish(run, recipe, work, out)
    return out


async def _finish(run: Runner, recipe: Recipe, work: Path, out: Path) -> None:
    """Take apart what mmdebstrap has handed out."""
    tree = work / "kernel-tree"
    await run(
        ["dpkg-deb", "--extract", str(work / "kernel.deb"), str(tree)],
        timeout=bounds.CALL_SECONDS * 6,
    )
    shutil.copyfile(_kernel(tree), out / "kernel")
    initrd = make_initrd(
        tree,
        (work / "busybox").read_bytes(),
        (recipe.folder / "initrd" / "init").read_bytes(),
        recipe.modules_early,
        recipe.modules_late,
    )
    (out / "initrd").write_bytes(initrd)
    unpack = [
        "tar",
        "--extract",
        "--sparse",
        "--file",
        str(work / "root.tar"),
        "--directory",
        str(out),
    ]
    await run([*unpack, "--no-same-owner", "root.img"], timeout=bounds.CALL_SECONDS * 6)


def _kernel(tree: Path) -> Path:
    """The one kernel of an unpacked kernel package."""
    found = sorted((tree / "boot").glob("vmlinuz-*"))
    if len(found) != 1:
        raise HostFault(f"kernel package holds {len(found)} kernels, not 1")
    return found[0]


def _mode() -> str:
    """Root's own mode, or a user namespace for everyone else who may have one."""
    if os.geteuid() == 0:
        return "root"
    name = pwd.getpwuid(os.geteuid()).pw_name
    ranges = Path("/etc/subuid")
    owners = (
        [line.split(":")[0] for line in ranges.read_text().splitlines()] if ranges.exists() else []
    )
    if not shutil.which("newuidmap") or not {name, str(os.geteuid())} & set(owners):
        raise HostFault(
            f"user {name} may not build images: no newuidmap, or no range in /etc/subuid",
            hint="build as root, or: apt-get install uidmap and usermod --add-subuids"
            f" 100000-165535 --add-subgids 100000-165535 {name}",
        )
    return "unshare"


def _mmdebstrap(recipe: Recipe, mode: str, stage: Path, work: Path) -> list[str]:
    """The call of mmdebstrap. Files travel by its own hooks, so a user namespace will do too."""
    merged = _HOOKS / "merged-usr" / "setup00.sh"
    if not merged.is_file():
        raise HostFault(
            f"program mmdebstrap is too old: {merged} is missing",
            hint="install version 1.2 or newer: apt-get install mmdebstrap",
        )
    command = ["mmdebstrap", "--verbose", "--variant=custom", "--format=null"]
    command += [f"--mode={mode}"]
    command += [f"--architectures={recipe.architecture}", "--include=?essential"]
    command += [f"--include={','.join(recipe.packages)}"]
    for path in ("doc", "man", "locale", "info", "lintian"):
        command += [f"--dpkgopt=path-exclude=/usr/share/{path}/*"]
    command += ["--dpkgopt=force-unsafe-io"]
    command += [f'--setup-hook=sh {merged} "$1"']
    command += [f"--customize-hook=copy-in {shlex.quote(str(stage))} /"]
    command += [f'--customize-hook=sh "$1"/{_PLACE}/assemble "$1"']
    for name in ("kernel.deb", "busybox", "root.tar"):
        target = shlex.quote(str(work / name))
        command += [f"--customize-hook=download /{_PLACE}/{name} {target}"]
    return command


async def _apt_options(run: Runner, sources: Sequence[str]) -> list[str]:
    """What mmdebstrap's apt takes over from the host's."""
    options = [f"--aptopt={option}" for option in await host_options(run)]
    options += ['--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"']
    if any(" file:" in source or " copy:" in source for source in sources):
        options += [f"--hook-dir={_HOOKS / 'file-mirror-automount'}"]
    return options
