from __future__ import annotations

import pytest

from host_daemon.images.apt import host_sources, parse_options, parse_sources
from vaccel.errors import HostFault

from .conftest import Programs

TARGETS = """\
http://a.example/debian/|bookworm|main|Debian
http://a.example/debian/|bookworm|main|Debian
http://a.example/debian/|bookworm|contrib|Debian
http://a.example/debian/|bookworm-updates|main|$(ORIGIN)
http://b.example/security/|bookworm-security|main|
http://c.example/apt/|bookworm|main|Someone
http://d.example/apt/|nodistro|main|Someone
cdrom://disc/|bookworm|main|Debian
"""


def test_only_debians_own_sources_of_the_suite() -> None:
    assert parse_sources(TARGETS, "bookworm") == [
        "deb http://a.example/debian/ bookworm main",
        "deb http://a.example/debian/ bookworm-updates main",
        "deb http://b.example/security/ bookworm-security main",
    ]


def test_only_options_about_reaching_a_mirror() -> None:
    dump = (
        'Acquire::http::Proxy "http://proxy.example:3128";\nAcquire::Languages "none";\n'
        'Acquire::https::CaInfo "";\nAPT::Get "";\nAcquire::Check-Date "false";\n'
    )
    assert parse_options(dump) == [
        'Acquire::http::Proxy "http://proxy.example:3128";',
        'Acquire::Check-Date "false";',
    ]


async def test_a_host_without_the_suite_is_told(programs: Programs) -> None:
    with pytest.raises(HostFault, match="apt has no source of Debian trixie"):
        await host_sources(programs, "trixie")
