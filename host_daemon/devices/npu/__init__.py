"""NPU: systolic arrays, vector cores, SRAM and DRAM."""
