"""Implementations of the store port: SQLite for daemons, memory for tests and private use."""
