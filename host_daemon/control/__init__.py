"""The control plane: managers that carry decisions out, over the ports of ``host_daemon.core``."""
