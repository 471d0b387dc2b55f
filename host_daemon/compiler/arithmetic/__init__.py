"""A whole model in one arithmetic of the arrays: what ``device.load(…, arithmetic="bf16")`` asks.

Products of float32 are written anew before a program is compiled: operands in short numbers, sums
as the device sums, results as they leave it. What then computes are the common kernels, so that a
model takes about the wall time that it takes in fp32, nested graphs included.
"""
