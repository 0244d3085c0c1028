# replication: meta-identifiers, the store
noinst_LIBRARIES += replication/libreplication.a
replication_libreplication_a_CFLAGS = $(AM_CFLAGS)
replication_libreplication_a_SOURCES = \
	replication/hlc.c replication/hlc.h \
	replication/op_id.c replication/op_id.h
# identifiers
replication_libreplication_a_CFLAGS += $(OPENSSL_CFLAGS)
replication_libreplication_a_SOURCES += replication/metaid.c replication/metaid.h
replication_libreplication_a_SOURCES += \
	replication/splice.c replication/splice.h \
	replication/splice_int.h replication/splice_scan_int.h replication/splice_walk_int.h \
	replication/splice_json.c \
	replication/splice_rules.c \
	replication/splice_text.c
