# replication: meta-identifiers, the store
noinst_LIBRARIES += replication/libreplication.a
replication_libreplication_a_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
replication_libreplication_a_SOURCES = \
	replication/dict.c replication/dict.h \
	replication/hlc.c replication/hlc.h \
	replication/inbox.h replication/lane.c replication/lane_int.h \
	replication/names.c replication/names.h replication/names_tally.h \
	replication/op_id.c replication/op_id.h \
	replication/states.c replication/states.h \
	replication/store.h replication/store_int.h \
	replication/store_batch.c \
	replication/store_open.c \
	replication/store_read.c replication/store_read_int.h \
	replication/store_sql.c \
	replication/store_view.c replication/store_view.h \
	replication/store_writer.c
# identifiers
replication_libreplication_a_CFLAGS += $(OPENSSL_CFLAGS)
replication_libreplication_a_SOURCES += replication/metaid.c replication/metaid.h
replication_libreplication_a_SOURCES += replication/fingerprint.c replication/fingerprint.h
replication_libreplication_a_SOURCES += \
	replication/splice.c replication/splice.h \
	replication/splice_int.h replication/splice_scan_int.h replication/splice_walk_int.h \
	replication/splice_json.c \
	replication/splice_rules.c \
	replication/splice_text.c
replication_libreplication_a_SOURCES += replication/member.c replication/member.h
replication_libreplication_a_SOURCES += replication/page.c replication/page.h
# rules of resources: jansson for requests and for rules of our own, never for the bodies of applications' answers
replication_libreplication_a_CFLAGS += $(JANSSON_CFLAGS)
replication_libreplication_a_SOURCES += \
	replication/rules.c replication/rules.h replication/rules_int.h \
	replication/rules_find.c \
	replication/rules_kind.c \
	replication/rules_learned.c \
	replication/rules_location.c \
	replication/rules_path.c \
	replication/rules_ready.c \
	replication/rules_scan.c \
	replication/rules_shown.c
# secrets
replication_libreplication_a_SOURCES += replication/seal.c replication/seal.h
# order: what is executed when, and who has what; pure
replication_libreplication_a_SOURCES += \
	replication/frontier.c \
	replication/order.c replication/order.h replication/order_int.h \
	replication/order_list.c \
	replication/order_load.c \
	replication/order_rule.c \
	replication/quorum.c replication/quorum.h \
	replication/vector.c replication/vector.h
# bodies
replication_libreplication_a_SOURCES += \
	replication/spool.h replication/spool_int.h \
	replication/spool.c \
	replication/spool_disk.c
