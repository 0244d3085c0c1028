#!/bin/sh
# The store with failing writes, syncs and allocations; without an argument it would try each allocation, for minutes.
exec ./tests/fault/store 97
