#!/bin/sh
# The replicator with failing allocations; without an argument it would try each, for minutes.
exec ./tests/fault/replicator 29
