"""The wire: the only part that speaks the generated messages."""
