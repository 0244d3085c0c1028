#!/bin/sh
# Runs every fuzz target once over its corpus: fuzz_NAME over tests/fuzz/corpus/NAME.
set -e
for program in tests/fuzz/fuzz_*; do
	[ -x "$program" ] || continue
	name=${program##*/fuzz_}
	# libFuzzer takes files; replay takes folders and files
	"$program" "${srcdir:-.}/tests/fuzz/corpus/$name"/*
done
