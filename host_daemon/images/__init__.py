"""Guest images: what a VM boots from, built on the host and cached by content."""

from __future__ import annotations

from host_daemon.images.image import GuestImage
from host_daemon.images.store import ImageStore

__all__ = ["GuestImage", "ImageStore"]
