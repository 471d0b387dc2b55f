"""The timing of an HBM2 channel, in cycles of its command clock.

The names are JEDEC's (JESD235). Derived delays are those between commands on the command bus, as
DRAMSim2 forms them (Rosenfeld et al., CAL 2011), on which Samsung's PIMSimulator rests.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

BANKS = 16
GROUPS = 4
BANKS_PER_GROUP = BANKS // GROUPS
# A row of a bank is 32 bursts of 256 bits: 1 KiB per pseudo-channel.
COLUMNS = 32
BURST_BYTES = 32


@dataclass(frozen=True)
class Timing:
    """Cycles. The defaults are PIMSimulator's HBM2 at tCK = 1 ns.

    ``ranks`` share a channel's command bus; kernels use the first. ``refresh_interval`` is tREFI of
    a rank, or 0 for no refresh.
    """

    activate_to_read: int = 14  # tRCDRD
    activate_to_write: int = 10  # tRCDWR
    precharge: int = 14  # tRP
    active: int = 33  # tRAS
    row_cycle: int = 47  # tRC
    column_short: int = 2  # tCCDS, another bank group
    column_long: int = 4  # tCCDL, the same bank group
    activate_short: int = 4  # tRRDS
    activate_long: int = 6  # tRRDL
    write_recovery: int = 16  # tWR
    write_to_read_long: int = 9  # tWTRL
    read_to_precharge_long: int = 5  # tRTPL
    rank_switch: int = 1  # tRTRS
    read_latency: int = 20  # RL
    write_latency: int = 8  # WL
    burst: int = 4  # BL
    refresh: int = 350  # tRFC
    refresh_interval: int = 3900  # tREFI
    ranks: int = 2

    @cached_property
    def data(self) -> int:
        """Cycles of a burst on the data bus: two beats a cycle."""
        return self.burst // 2

    @cached_property
    def read_to_precharge(self) -> int:
        """READ to PRE of the same bank."""
        return self.data + max(self.read_to_precharge_long, self.column_long) - self.column_long

    @cached_property
    def write_to_precharge(self) -> int:
        """WRITE to PRE of the same bank."""
        return self.write_latency + self.data + self.write_recovery

    @cached_property
    def read_to_write(self) -> int:
        """READ to WRITE, any bank: the data bus turns round."""
        return self.read_latency + self.data + self.rank_switch - self.write_latency

    @cached_property
    def write_to_read(self) -> int:
        """WRITE to READ, any bank."""
        return self.write_latency + self.data + self.write_to_read_long

    @cached_property
    def read_return(self) -> int:
        """From a READ's issue until its data is with the host, the cycle of the bus included."""
        return 1 + self.read_latency + self.data + 1

    @cached_property
    def write_return(self) -> int:
        """From a WRITE's issue until its data has left the host."""
        return self.write_latency + self.data + 1
