"""An NPU whose DRAM computes: arrays for what is reused, banks for what is read once."""
