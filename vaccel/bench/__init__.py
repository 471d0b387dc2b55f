"""Real workloads, the demo that runs them on a VF, and the benchmarks."""
