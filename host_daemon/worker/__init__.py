"""The VF worker: one process per VF, which holds its memory and does its work."""
