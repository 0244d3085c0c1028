include tests/unit/base/local.mk
include tests/unit/cli/local.mk
include tests/unit/http/local.mk
include tests/unit/proxy/local.mk
include tests/unit/registry/local.mk
include tests/unit/replication/local.mk
include tests/unit/replication/ident.mk
include tests/unit/scope/local.mk
