# Unit tests: one program per module, cmocka (TAP), no sockets.
include tests/unit/local.mk
include tests/scenario/local.mk
include tests/fuzz/local.mk
