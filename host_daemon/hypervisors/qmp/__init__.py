"""QEMU, driven over its own monitor protocol: no libvirt, no daemon in between."""
