"""Runs the kinetide binary with somebody's record processor, and judges what the processor saw.

The harness knows Kinetide only from outside: its command line, its exit codes, the lease table, and the journals that the
processors under test keep. It shares no code with what it judges.
"""
