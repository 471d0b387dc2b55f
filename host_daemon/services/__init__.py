"""What the daemon serves: who may call, and how a call reaches the control plane or a worker."""
