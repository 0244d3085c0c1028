include tests/unit/base/local.mk
include tests/unit/scope/local.mk
include tests/unit/http/local.mk
