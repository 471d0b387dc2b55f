"""Ports and pure decisions: no transport, no storage engine, no kind of device."""
