"""Measures how good answers, rankings and verdicts are: `gnomon eval`.

A suite is one module with a `SUITE`; those in `gnomon.eval.suites` and those that other packages
name as entry points of the group `gnomon.suites` are found by themselves.
"""
