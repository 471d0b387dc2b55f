"""The host's apt configuration, handed on to mmdebstrap: no mirror's address is kept here."""

from __future__ import annotations

from typing import Final

from host_daemon.images.runner import Runner
from vaccel import bounds
from vaccel.errors import HostFault

_FORMAT: Final = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)"
# Settings of the host that decide whether and how its mirrors can be reached.
_PASSED: Final = (
    "Acquire::http::",
    "Acquire::https::",
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
    "Acquire::Retries",
)


async def host_sources(run: Runner, suite: str) -> list[str]:
    """Lines for a sources.list: Debian's suite, its updates and security, as the host has them.

    Raises HostFault where the host has no source of that suite.
    """
    text = await run(
        ["apt-get", "indextargets", "--format", _FORMAT, "Created-By: Packages"],
        timeout=bounds.CALL_SECONDS * 6,
    )
    sources = parse_sources(text, suite)
    if not any(f" {suite} " in line for line in sources):
        raise HostFault(
            f"apt has no source of Debian {suite}",
            hint=f"add one with the component main to /etc/apt/sources.list.d, for {suite}",
        )
    return sources


def parse_sources(text: str, suite: str) -> list[str]:
    """Sources of a suite from what ``apt-get indextargets`` printed, each once, in its order."""
    releases = {suite, f"{suite}-updates", f"{suite}-security"}
    sources: list[str] = []
    for line in text.splitlines():
        uri, release, component, origin = (*line.strip().split("|"), "", "", "")[:4]
        # An index that was never fetched has no origin: the field is then empty or its own name.
        foreign = origin not in ("", "Debian", "$(ORIGIN)")
        if release not in releases or component != "main" or foreign or uri.startswith("cdrom:"):
            continue
        source = f"deb {uri} {release} {component}"
        if source not in sources:
            sources.append(source)
    return sources


async def host_options(run: Runner) -> list[str]:
    """Options of the host's apt, as ``Key "value";``: proxies, certificates, retries, dates."""
    text = await run(["apt-config", "dump"], timeout=bounds.CALL_SECONDS)
    return parse_options(text)


def parse_options(text: str) -> list[str]:
    """The passed options among what ``apt-config dump`` printed."""
    return [
        line.strip()
        for line in text.splitlines()
        if line.startswith(_PASSED) and not line.strip().endswith('"";')
    ]
