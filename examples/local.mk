EXTRA_DIST += examples/demo
