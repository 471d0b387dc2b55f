"""Whole workloads around a model: features before it, a decision after it. NumPy only.

A **model** here is anything that is called with arrays by input name and answers with arrays by
output name: a model of the SDK in a guest, or ONNX Runtime in process. Both sides share this code,
so what is compared is the device.
"""
