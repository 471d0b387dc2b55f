"""Files of non-volatile cells, one a card, and who may see which part of them.

``<PF>.cells`` is sparse: ``Card.cell_bytes`` for each core, in order. A worker gets a descriptor
and maps its own cores' range. Before a core changes hands its cells are erased, and the kind
verifies it; the ledger says whose a core is until then, so that a daemon that dies in between
finds out.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from host_daemon.control import ledger as ledgers
from host_daemon.control.cards import Pf
from host_daemon.control.ledger import Ledger
from host_daemon.core.device import Kind
from host_daemon.core.lasting import LastingKind
from host_daemon.core.records import VfRecord
from vaccel import bounds
from vaccel.aperture.cells import CellRange
from vaccel.errors import HostFault, Internal, InvalidArgument, Unsupported
from vaccel.inventory import Condition

log = logging.getLogger(__name__)

_SALT: Final = b"vaccel: seed of a virtual function, 1"
_CHOSEN: Final = b"vaccel: seed that an operator chose, 1"


@dataclass(frozen=True, slots=True)
class Lease:
    """What a VF's worker is given of its card's cells. ``descriptor`` is the caller's to close."""

    descriptor: int
    offset: int
    length: int
    clock_seconds: float
    seed: bytes


def derive_seed(secret: bytes, vf: str) -> bytes:
    """A VF's 32 bytes: HKDF of RFC 5869 with HMAC-SHA-256. Ids of VFs are never used again."""
    key = hmac.digest(_SALT, secret, "sha256")
    return hmac.digest(key, vf.encode() + b"\1", "sha256")


def chosen_seed(text: str) -> bytes:
    """The 32 bytes of a seed that the operator chose: of that text alone, on every host."""
    return hmac.digest(_CHOSEN, text.encode(), "sha256")


class CellFiles:
    """The cells of all cards of this host that remember; cards of other kinds have none."""

    def __init__(
        self,
        folder: Path,
        secret: bytes,
        find_kind: Callable[[str], Kind],
        random: Callable[[int], bytes],
    ) -> None:
        self._folder = folder
        self._secret = secret
        self._find_kind = find_kind
        self._random = random
        self._ledgers: dict[str, tuple[Pf, Ledger]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def open(self, pfs: Iterable[Pf]) -> None:
        """Find or make the files. Raises HostFault where one is of another card."""
        for pf in pfs:
            if pf.card.cell_bytes:
                card = pf.card
                found = ledgers.load(
                    self._ledger_path(pf),
                    card.name,
                    card.cores,
                    card.cell_bytes,
                    card.cell_layout,
                )
                self._make(pf)
                found.save(self._ledger_path(pf))
                self._ledgers[pf.record.id] = (pf, found)
                self._locks[pf.record.id] = asyncio.Lock()

    async def lend(self, vf: VfRecord) -> Lease | None:
        """A VF's cores, cleared of what others left; None where its card has no cells."""
        if vf.pf not in self._ledgers:
            return None
        pf, ledger = self._ledgers[vf.pf]
        async with self._locks[vf.pf]:
            strange = [core for core in vf.cores if ledger.owners[core] not in ("", vf.id)]
            await self._erase(pf, ledger, strange)
            for core in vf.cores:
                ledger.owners[core] = vf.id
            ledger.save(self._ledger_path(pf))
        size = pf.card.cell_bytes
        return Lease(
            self._descriptor(pf),
            vf.cores[0] * size,
            len(vf.cores) * size,
            ledger.clock_seconds,
            self._seed(ledger, vf.id),
        )

    def check_seed(self, vf: VfRecord, seed: str) -> None:
        """Raise InvalidArgument or Unsupported for a seed that a VF cannot have; "" is none."""
        if not seed:
            return
        if len(seed) > bounds.SEED_CHARACTERS or not seed.isprintable():
            raise InvalidArgument(
                f"seed = {seed[:80]!r}",
                hint=f"1 to {bounds.SEED_CHARACTERS} printable characters",
            )
        if vf.pf not in self._ledgers:
            raise Unsupported(
                f"seed = {seed!r}: the card of {vf.profile} draws nothing at random",
                hint="leave it out: results of such cards repeat by themselves",
            )

    def choose_seed(self, vf: VfRecord, seed: str) -> None:
        """Keep a VF's seed, which ``check_seed`` let pass, until its cells are erased."""
        if seed:
            pf, ledger = self._ledgers[vf.pf]
            ledger.seeds[vf.id] = seed
            ledger.save(self._ledger_path(pf))

    def seed_shown(self, vf: VfRecord) -> Sequence[Condition]:
        """What the operator is told of a VF's seed; nothing where its card draws nothing."""
        if vf.pf not in self._ledgers:
            return ()
        text = self._ledgers[vf.pf][1].seeds.get(vf.id)
        note = "drawn from the host's secret" if text is None else f"chosen: {text}"
        return (Condition("seed", float(text is not None), "", note),)

    def _seed(self, ledger: Ledger, vf: str) -> bytes:
        text = ledger.seeds.get(vf)
        return derive_seed(self._secret, vf) if text is None else chosen_seed(text)

    async def release(self, vf: str, tenant: str = "") -> None:
        """Erase what a VF held, and verify it. A VF that held nothing is no error."""
        for pf, ledger in self._ledgers.values():
            async with self._locks[pf.record.id]:
                held = ledger.held_by(vf)
                if held:
                    await self._erase(pf, ledger, held, tenant)
                if ledger.seeds.pop(vf, None) is not None:
                    ledger.save(self._ledger_path(pf))

    def clock(self, pf: Pf) -> float:
        """A card's clock, in seconds. Raises Unsupported where it has none."""
        return self._of(pf)[1].clock_seconds

    def advance(self, pf: Pf, seconds: float) -> float:
        """Move a card's clock; what it shows then. Raises InvalidArgument, Unsupported."""
        _, ledger = self._of(pf)
        ledger.advance(seconds)
        ledger.save(self._ledger_path(pf))
        return ledger.clock_seconds

    async def survey(self, pf: Pf) -> Sequence[Condition]:
        """How a card's cells are; nothing where it has none."""
        if pf.record.id not in self._ledgers:
            return ()
        _, ledger = self._ledgers[pf.record.id]
        kind = self._kind(pf)

        def look() -> Sequence[Condition]:
            cells = self._map(pf, 0, pf.card.cores)
            try:
                return kind.survey(pf.card, cells.bytes)
            finally:
                cells.close()

        found = await asyncio.to_thread(look)
        clock = Condition("cell clock", ledger.clock_seconds, "s", "moved by the operator only")
        writes = [
            Condition(f"rows written by {tenant}"[: bounds.NAME_BYTES], float(count))
            for tenant, count in sorted(ledger.writes.items())
        ]
        return (clock, *found, *writes)

    # --- helpers --------------------------------------------------------------------------

    def _of(self, pf: Pf) -> tuple[Pf, Ledger]:
        if pf.record.id not in self._ledgers:
            raise Unsupported(
                f"PF {pf.record.name} is of kind {pf.card.kind}, whose cells do not age",
                hint="only cards of kind nvm have a clock",
            )
        return self._ledgers[pf.record.id]

    def _kind(self, pf: Pf) -> LastingKind:
        kind = self._find_kind(pf.card.kind)
        if not isinstance(kind, LastingKind):
            raise Internal(f"card {pf.card.name} has cells, but kind {pf.card.kind} erases none")
        return kind

    async def _erase(
        self, pf: Pf, ledger: Ledger, cores: Sequence[int], tenant: str = ""
    ) -> None:
        """Core by core, so that what is verified is also written down."""
        kind = self._kind(pf)
        untouched = hashlib.sha256(bytes(pf.card.cell_bytes)).hexdigest() if cores else ""
        for core in cores:

            def clear(core: int = core) -> tuple[int, str]:
                cells = self._map(pf, core, 1)
                try:
                    digest = hashlib.sha256(cells.bytes).hexdigest()
                    if digest == ledger.erased.get(str(core), untouched):
                        return 0, digest
                    done = kind.erase(pf.card, cells.bytes, self._random(32))
                    cells.flush()
                    return done.owner_writes, hashlib.sha256(cells.bytes).hexdigest()
                finally:
                    cells.close()

            written, ledger.erased[str(core)] = await asyncio.to_thread(clear)
            owner = tenant or ledger.owners[core]
            if written:
                ledger.writes[owner] = ledger.writes.get(owner, 0) + written
            ledger.owners[core] = ""
        if cores:
            log.info("PF %s: cleared %d cores", pf.record.name, len(cores))
            ledger.save(self._ledger_path(pf))

    def _map(self, pf: Pf, core: int, cores: int) -> CellRange:
        descriptor = self._descriptor(pf)
        try:
            return CellRange(descriptor, core * pf.card.cell_bytes, cores * pf.card.cell_bytes)
        finally:
            os.close(descriptor)

    def _descriptor(self, pf: Pf) -> int:
        try:
            return os.open(self._path(pf), os.O_RDWR | os.O_CLOEXEC)
        except OSError as fault:
            raise HostFault(f"cells of PF {pf.record.name}: {fault.strerror}") from None

    def _make(self, pf: Pf) -> None:
        path, size = self._path(pf), pf.card.cores * pf.card.cell_bytes
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                found = os.fstat(descriptor).st_size
                if found == 0:
                    os.ftruncate(descriptor, size)
                elif found != size:
                    raise HostFault(
                        f"cells of PF {pf.record.name}: {path} has {found} bytes, but the cells of"
                        f" {pf.card.name} are {size}",
                        hint="declare the card that these cells are of, or remove the file",
                    )
            finally:
                os.close(descriptor)
        except OSError as fault:
            raise HostFault(f"cells of PF {pf.record.name}: {path}: {fault.strerror}") from None

    def _path(self, pf: Pf) -> Path:
        return self._folder / f"{pf.record.name}.cells"

    def _ledger_path(self, pf: Pf) -> Path:
        return self._folder / f"{pf.record.name}.json"


def load_secret(path: Path, random: Callable[[int], bytes]) -> bytes:
    """The host's secret for seeds: 32 bytes, made on first use, readable by this user only."""
    try:
        if path.exists():
            found = path.read_bytes()
            if len(found) == 32:
                return found
            raise HostFault(
                f"{path} has {len(found)} bytes, not 32", hint="restore it from a backup"
            )
        made = random(32)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:
            file.write(made)
            file.flush()
            os.fsync(file.fileno())
        return made
    except OSError as fault:
        raise HostFault(f"secret of seeds {path}: {fault.strerror}") from None
