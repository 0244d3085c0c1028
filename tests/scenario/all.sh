#!/bin/sh
# Plays every scenario.
exec ./tests/scenario/run "${srcdir:-.}"/tests/scenario/*.scn
