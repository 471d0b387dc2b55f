"""Building a guest's base from its recipe: kernel, initrd and root file system."""

from __future__ import annotations

import os
import pwd
import shlex
import shutil
from pathlib import Path
from typing import Final

from host_daemon.images.apt import host_options, host_sources
from host_daemon.images.initrd import make_initrd
from host_daemon.images.progress import BuildProgress
from host_daemon.images.recipe import Recipe
from host_daemon.images.runner import Runner
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
    command = await _mmdebstrap(run, recipe, stage, work)
    await run(command, timeout=bounds.IMAGE_BUILD_SECONDS, on_line=progress.line)
    progress.step("making the initrd", 0.97)
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
    return out


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


async def _mmdebstrap(run: Runner, recipe: Recipe, stage: Path, work: Path) -> list[str]:
    """The call of mmdebstrap. Files travel by its own hooks, so a user namespace will do too."""
    merged = _HOOKS / "merged-usr" / "setup00.sh"
    if not merged.is_file():
        raise HostFault(
            "program mmdebstrap is missing, or older than 1.2: it has no hook merged-usr",
            hint="install it: apt-get install mmdebstrap",
        )
    sources = await host_sources(run, recipe.suite)
    listing = work / "sources.list"
    listing.write_text("\n".join(sources) + "\n")
    command = ["mmdebstrap", "--verbose", "--variant=custom", "--format=null"]
    command += [f"--mode={_mode()}"]
    command += [f"--architectures={recipe.architecture}", "--include=?essential"]
    command += [f"--include={','.join(recipe.packages)}"]
    command += [f"--aptopt={option}" for option in await host_options(run)]
    command += ['--aptopt=APT::Install-Recommends "false"', '--aptopt=Acquire::Languages "none"']
    for path in ("doc", "man", "locale", "info", "lintian"):
        command += [f"--dpkgopt=path-exclude=/usr/share/{path}/*"]
    command += ["--dpkgopt=force-unsafe-io"]
    if any(" file:" in source or " copy:" in source for source in sources):
        command += [f"--hook-dir={_HOOKS / 'file-mirror-automount'}"]
    command += [f'--setup-hook=sh {merged} "$1"']
    command += [f"--customize-hook=copy-in {shlex.quote(str(stage))} /"]
    command += [f'--customize-hook=sh "$1"/{_PLACE}/assemble "$1"']
    for name in ("kernel.deb", "busybox", "root.tar"):
        target = shlex.quote(str(work / name))
        command += [f"--customize-hook=download /{_PLACE}/{name} {target}"]
    return [*command, recipe.suite, "/dev/null", str(listing)]
