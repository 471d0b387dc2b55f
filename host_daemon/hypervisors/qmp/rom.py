"""The probe's guest: a ROM that works in 64-bit mode for a moment, then writes to QEMU's exit port.

Answering at once would prove little: a KVM that emulates each instruction starts a guest, even in
64-bit mode, and is then a thousand times too slow to boot one. Ten million stores take a virtual
CPU 10 ms, and TCG 50 ms.
"""

from __future__ import annotations

from typing import Final

ANSWER: Final = 0x2A
# QEMU, hw/misc/debugexit.c: the process ends with (value << 1) | 1.
EXIT_CODE: Final = ANSWER << 1 | 1
ROM_BYTES: Final = 1 << 16

_GDT_AT: Final = 0x80
_GDTR_AT: Final = 0x90
_RESET_AT: Final = ROM_BYTES - 16

# The ROM's 64 KiB end at 1 MiB, so its first byte is at 0xF0000, and F000:0000 in real mode.
# Page tables go to 0x1000, 0x2000 and 0x3000: the first 2 MiB, mapped to themselves.
_CODE: Final = (
    "fa"  # cli
    "31c0 8ed8"  # xor ax, ax; mov ds, ax
    "66c7060010 03200000"  # mov dword [0x1000], 0x2003
    "66c7060020 03300000"  # mov dword [0x2000], 0x3003
    "66c7060030 83000000"  # mov dword [0x3000], 0x83
    "2e660f0116 9000"  # lgdt cs:[0x90]
    "66b8 20000000 0f22e0"  # mov eax, PAE; mov cr4, eax
    "66b8 00100000 0f22d8"  # mov eax, 0x1000; mov cr3, eax
    "66b9 800000c0 0f32"  # mov ecx, EFER; rdmsr
    "660d 00010000 0f30"  # or eax, LME; wrmsr
    "0f20c0 660d 01000080 0f22c0"  # cr0 |= PG | PE
    "66ea 5d000f00 0800"  # jmp 8:0xf005d, the next instruction, from here on in 64-bit mode
    "bc 00700000"  # mov esp, 0x7000
    "b9 80969800"  # mov ecx, 10000000
    "48890c24 ffc9 75f8"  # again: mov [rsp], rcx; dec ecx; jnz again
    "66baf400 b02a ee"  # mov dx, 0xf4; mov al, ANSWER; out dx, al
    "f4 ebfd"  # hlt; jmp to hlt
)
_GDT: Final = "0000000000000000 ffff0000009baf00"  # none; a 64-bit code segment
_GDTR: Final = "0f00 80000f00"  # 16 bytes, at 0xf0080
_RESET: Final = "ea 0000 00f0"  # where a processor starts: jmp F000:0000


def rom() -> bytes:
    """The image, for QEMU's ``-bios``."""
    image = bytearray(ROM_BYTES)
    for offset, text in ((0, _CODE), (_GDT_AT, _GDT), (_GDTR_AT, _GDTR), (_RESET_AT, _RESET)):
        part = bytes.fromhex(text)
        image[offset : offset + len(part)] = part
    return bytes(image)
