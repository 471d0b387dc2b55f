"""The keeper: a small process that holds the windows of VFs while workers and daemons come and go.

Standard library only, so that it starts at once, stays small and has nothing to crash over.
"""
