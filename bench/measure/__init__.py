"""What benchmarks share: a fleet of real processes on the embedded endpoint, what it printed and when, figures and goals.

Like the conformance harness, on which it stands, it knows Kinetide only from outside.
"""
