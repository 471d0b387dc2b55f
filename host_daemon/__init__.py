"""vacceld: the host daemon and everything that runs for it on the host."""
