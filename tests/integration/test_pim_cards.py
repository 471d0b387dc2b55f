"""Cards whose DRAM computes, from the daemon's configuration to a kernel in a VF."""

from __future__ import annotations

import numpy as np

import vaccel
from tests.integration.daemon_host import CONFIG, DaemonHost
from vaccel.model import DType, Port

CARDS = {
    "aim": ("pim", "pim.8c.4g"),
    "kcloud-2": ("npu-pim", "npu-pim.2c.6g"),
}
PFS = "".join(f'\n[[pf]]\nname = "{card}"\ncard = "{card}"\n' for card in CARDS)


def test_vfs_of_pim_cards_are_made_and_compute() -> None:
    random = np.random.default_rng(1)
    a = random.standard_normal((1, 256)).astype(np.float32)
    b = random.standard_normal((256, 512)).astype(np.float32)
    with DaemonHost(CONFIG + PFS) as host:
        pfs = {pf.name: pf for pf in host.admin.pfs()}
        for card, (kind, profile) in CARDS.items():
            assert (pfs[card].kind, pfs[card].card) == (kind, card)
            assert any(figure.name.endswith("internal bandwidth") for figure in pfs[card].figures)
            vf = host.admin.create_vf(profile, pf=card, name=f"v-{card}")
            vf = host.admin.attach_vf(vf.id, local=True)
            with vaccel.open(address=vf.socket) as device:
                ports = [Port("", DType.FLOAT32, (None, None)) for _ in range(2)]
                kernel = device.kernel("matmul", *ports, arithmetic="bf16")
                (result,) = kernel(a, b).values()
                # Operands that come with the launch lie in no bank's order.
                places = {"pim": "host", "npu-pim": "array"}
                assert kernel.last_cost.nodes == {places[kind]: 1}
                assert np.allclose(result, a @ b, rtol=0.05, atol=0.5)
                assert not np.array_equal(result, a @ b)
            host.admin.destroy_vf(vf.id, force=True)
