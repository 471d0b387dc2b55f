"""ONNX in, a program for one VF out. Runs in the VF's worker, because a model file is hostile
input.
"""
