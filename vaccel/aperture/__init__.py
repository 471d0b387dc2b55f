"""The aperture: the memory that a VF shares with its guest, and the one module that maps memory."""
