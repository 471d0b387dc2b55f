"""Samsung HBM-PIM: FP16 units between pairs of banks, programmed in a command register file."""
