from __future__ import annotations

from host_daemon.images.progress import BuildProgress

LINES = [
    "I: running --setup-hook in shell",
    "0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.",
    "Setting up usr-is-merged (1) ...",
    "I: running apt-get update...",
    "I: downloading packages with apt...",
    "0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.",
    "Get:1 http://a.example/debian bookworm/main amd64 bash amd64 5.2 [1 B]",
    "Get:2 http://a.example/debian bookworm/main amd64 dash amd64 0.5 [1 B]",
    "something that nobody knows",
    "Unpacking bash (5.2) ...",
    "Unpacking dash:amd64 (0.5) ...",
    "Setting up bash (5.2) ...",
    "Setting up dash:amd64 (0.5) ...",
    "vaccel: compiling Python",
]


def test_a_build_is_told_as_it_goes() -> None:
    told: list[tuple[str, float]] = []
    progress = BuildProgress(lambda step, share: told.append((step, share)))
    for line in LINES:
        progress.line(line)
    progress.step("late", 0.1)
    assert [step for step, _ in told] == [
        "reading package lists",
        "downloading packages",
        "fetching bash",
        "fetching dash",
        "unpacking bash",
        "unpacking dash",
        "setting up bash",
        "setting up dash",
        "compiling Python",
        "late",
    ]
    shares = [share for _, share in told]
    assert shares == sorted(shares)
    assert len(set(shares[2:8])) == 6
