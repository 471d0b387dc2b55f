"""Analog multiply-accumulate in non-volatile memory: tiles of cells that hold weights and
multiply.
"""
