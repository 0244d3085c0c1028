EXTRA_DIST += docs/libraries.md
