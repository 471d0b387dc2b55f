"""The fast path of an app: hot calls go through a queue pair of the window, the rest over gRPC."""
