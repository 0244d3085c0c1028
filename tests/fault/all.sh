#!/bin/sh
# Plays every scenario with allocations that fail.
exec ./tests/fault/memory "${srcdir:-.}"/tests/scenario/*.scn
