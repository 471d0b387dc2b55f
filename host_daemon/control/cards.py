"""The cards of this host: what the configuration declares, read once, with the record of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from host_daemon.config import PfConfig
from host_daemon.core.device import Card
from host_daemon.core.records import PfRecord
from host_daemon.core.store import Store
from vaccel.errors import InvalidArgument, NotFound, VaccelError, WrongState

# A card's name or path to its file and its description.
ReadCard = Callable[[str], tuple[Path, Card]]


@dataclass(frozen=True, slots=True)
class Pf:
    """A card, its file, and what the store calls it."""

    record: PfRecord
    card: Card
    path: Path


class Cards:
    """PFs by id and by name, in the configuration's order."""

    def __init__(self, pfs: Sequence[Pf]) -> None:
        self._pfs = {pf.record.id: pf for pf in pfs}

    def __iter__(self) -> Iterator[Pf]:
        return iter(self._pfs.values())

    def get(self, pf: str) -> Pf:
        """One PF, by id or name. Raises NotFound."""
        for found in self._pfs.values():
            if pf in (found.record.id, found.record.name):
                return found
        names = ", ".join(found.record.name for found in self._pfs.values())
        raise NotFound(f"there is no PF {pf!r}", hint=f"there are: {names}")


def register(
    configured: Sequence[PfConfig],
    read: ReadCard,
    store: Store,
    new_id: Callable[[str], str],
    unix_ns: Callable[[], int],
) -> Cards:
    """Bring the store's PFs in line with the configuration.

    Raises WrongState where a card that has VFs was removed from the configuration or exchanged.
    """
    pfs = []
    with store.transaction() as tx:
        known = {record.name: record for record in tx.list_pfs()}
        for entry in configured:
            try:
                path, card = read(entry.card)
            except VaccelError as fault:
                message = f"[[pf]] {entry.name}: card {entry.card!r}: {fault.message}"
                raise InvalidArgument(message, hint=fault.hint) from None
            if entry.window:
                card = _with_window(card, entry.window)
            old = known.pop(entry.name, None)
            if old is not None and old.card != card.name and tx.list_vfs(pf=old.id):
                raise WrongState(
                    f"PF {entry.name} was {old.card} and has VFs; it cannot become {card.name}",
                    hint="start with the old card, destroy its VFs, then exchange it",
                )
            record = PfRecord(
                id=old.id if old else new_id("pf"),
                name=entry.name,
                kind=card.kind,
                card=card.name,
                cores=card.cores,
                memory_bytes=card.memory_bytes,
                created_unix_ns=old.created_unix_ns if old else unix_ns(),
            )
            tx.put_pf(record)
            pfs.append(Pf(record, card, path))
        for gone in known.values():
            if tx.list_vfs(pf=gone.id):
                raise WrongState(
                    f"PF {gone.name} ({gone.card}) has VFs but is not in the configuration",
                    hint="declare it again, or destroy its VFs first",
                )
            tx.delete_pf(gone.id)
    return Cards(pfs)


def _with_window(card: Card, window: int) -> Card:
    """A card whose VFs have another window than its file says. VFs that exist keep theirs."""
    profiles = tuple(replace(profile, window_bytes=window) for profile in card.profiles)
    return replace(card, profiles=profiles)


def profile_names(cards: Cards) -> Mapping[str, list[str]]:
    """Names of all profiles, and the PFs that offer each."""
    names: dict[str, list[str]] = {}
    for pf in cards:
        for profile in pf.card.profiles:
            names.setdefault(profile.name, []).append(pf.record.name)
    return names
