"""A card that does nothing, at once, and fails on request."""
