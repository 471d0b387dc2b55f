"""Numerics of analog crossbars: cells, wires, converters and arrays of them.

Pure functions of their arguments: chance comes from a generator that is passed in, time from a
clock that is passed in, in seconds.
"""
