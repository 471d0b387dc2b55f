"""Drivers of hypervisors, one package each. They do not know each other."""
