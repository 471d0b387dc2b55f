"""The store of guest images: builds them once, finds them again, removes what is no longer used."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from host_daemon.images.base import BUILDER, build_base
from host_daemon.images.cache import disk_bytes, locked, publish, staging
from host_daemon.images.data import make_data_disk
from host_daemon.images.image import MANIFEST, GuestImage, read_manifest
from host_daemon.images.layer import layer_digest, make_layer
from host_daemon.images.progress import BuildProgress, Progress
from host_daemon.images.recipe import Recipe, load_recipe, recipe_digest, recipe_names
from host_daemon.images.runner import Runner, run_program
from host_daemon.images.wheels import guest_requirements
from vaccel import bounds
from vaccel.errors import HostFault


def default_cache() -> Path:
    """``$XDG_CACHE_HOME/vaccel/images``, or the same under ``~/.cache``."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(home) if home else Path.home() / ".cache") / "vaccel" / "images"


def _silent(_step: str, _share: float) -> None:
    """Progress that nobody watches."""


class ImageStore:
    """Guest images under one cache folder, locked across processes.

    ``recipes`` holds one folder per guest, ``lock_file`` is the project's hashed requirements; a
    change of either makes an image outdated. ``run`` starts the host's programs, ``now_ns`` is the
    clock.
    """

    def __init__(
        self,
        recipes: Path,
        lock_file: Path,
        cache: Path,
        run: Runner = run_program,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._recipes = recipes
        self._lock_file = lock_file
        self._cache = cache
        self._run = run
        self._now_ns = now_ns

    async def build(
        self, name: str = "debian", rebuild: bool = False, progress: Progress = _silent
    ) -> GuestImage:
        """The image of a recipe, built unless it is there already; ``rebuild`` builds it anyway.

        ``progress`` gets (step, share done in 0..1). Raises NotFound without a recipe,
        InvalidArgument for a wrong one, HostFault where a program, a package or room is missing.
        A failed build leaves nothing behind.
        """
        recipe, requirements, digest = self._inputs(name)
        told = BuildProgress(progress)
        async with locked(self._cache, lambda: told.step("waiting for another build", 0.0)):
            found = self._newest(digest)
            if found is not None and not rebuild:
                told.step("is built already", 1.0)
                return found
            with staging(self._cache) as work:
                out = await build_base(self._run, recipe, requirements, work, told)
                built = self._now_ns()
                image = GuestImage.in_folder(
                    # Never the folder of an earlier build: VMs have overlays over that one's bytes.
                    self._cache / "base" / f"{name}-{digest[:12]}-{built:x}",
                    name=name,
                    digest=digest,
                    command_line=" ".join(recipe.command_line),
                    bytes=disk_bytes(out),
                    built_unix_ns=built,
                )
                image.write_manifest(out)
                await asyncio.to_thread(publish, out, image.folder)
            told.step("built", 1.0)
        return image

    async def list(self) -> list[tuple[GuestImage, bool]]:
        """All built images, each with whether it is the one that `find` gives."""
        digests = [self._inputs(name)[2] for name in recipe_names(self._recipes)]
        current = [self._newest(digest) for digest in digests]
        return [(image, image in current) for image in self._built()]

    async def find(self, name: str = "debian") -> GuestImage:
        """The current image of a recipe. Raises HostFault where there is none, or an older one."""
        _, _, digest = self._inputs(name)
        found = self._newest(digest)
        if found is None:
            older = any(image.name == name for image in self._built())
            why = "is not built since its recipe changed" if older else "is not built"
            raise HostFault(f"image {name} {why}", hint="build it: vaccelctl image build")
        self._touch(found.folder)
        return found

    async def layer(self, source: Path) -> Path:
        """The disk with vaccel's own packages from a checkout, or from site-packages.

        Made again only where their contents have changed, which takes under a second.
        """
        digest = await asyncio.to_thread(layer_digest, source)
        final = self._cache / "layers" / f"{digest}.squashfs"
        if not final.is_file():
            async with locked(self._cache, lambda: None):
                if not final.is_file():
                    with staging(self._cache) as work:
                        made = await make_layer(self._run, source, work)
                        await asyncio.to_thread(publish, made, final)
        self._touch(final)
        return final

    async def data_disk(self, folder: Path, target: Path) -> Path:
        """A read-only disk file, at ``target``, from a folder of the host. Returns the target.

        Raises InvalidArgument naming what is no folder, Exhausted where it holds too much.
        """
        return await make_data_disk(self._run, folder, target)

    async def prune(self, in_use: Collection[Path] = ()) -> Sequence[Path]:
        """Remove outdated images and layers that no VM uses; returns what was removed.

        ``in_use`` are the disks, kernels or folders that VMs have open. What was asked for within
        the last hour stays too: another daemon on this cache may be about to open it.
        """
        used = {path.resolve() for path in in_use}
        before = self._now_ns() - int(bounds.IMAGE_KEPT_SECONDS * 1e9)
        removed = []
        async with locked(self._cache, lambda: None):
            for layer in sorted(self._cache.glob("layers/*.squashfs")):
                if layer.resolve() not in used and layer.stat().st_mtime_ns < before:
                    layer.unlink()
                    removed.append(layer)
            for image, current in await self.list():
                held = {image.folder, image.kernel, image.initrd, image.root}
                recent = image.folder.stat().st_mtime_ns >= before
                if not current and not recent and not used & {path.resolve() for path in held}:
                    shutil.rmtree(image.folder)
                    removed.append(image.folder)
        return removed

    def _inputs(self, name: str) -> tuple[Recipe, str, str]:
        recipe = load_recipe(self._recipes, name)
        try:
            text = self._lock_file.read_text()
        except OSError as fault:
            raise HostFault(
                f"lock file {self._lock_file} cannot be read: {fault.strerror}"
            ) from fault
        requirements = guest_requirements(text, recipe.wheels, recipe.python)
        return recipe, requirements, recipe_digest(recipe, requirements, BUILDER)

    def _touch(self, path: Path) -> None:
        """Date a thing by its last use, for prune."""
        now = self._now_ns()
        os.utime(path, ns=(now, now))

    def _built(self) -> Sequence[GuestImage]:
        found = [read_manifest(path.parent) for path in self._cache.glob(f"base/*/{MANIFEST}")]
        return sorted(found, key=lambda image: (image.name, image.built_unix_ns))

    def _newest(self, digest: str) -> GuestImage | None:
        """The last build of a digest; an earlier one may still carry VMs."""
        return next((image for image in reversed(self._built()) if image.digest == digest), None)
