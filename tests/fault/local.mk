# Every allocation of every scenario fails once.
check_PROGRAMS += tests/fault/memory
tests_fault_memory_SOURCES = tests/fault/memory.c tests/scenario/play.c tests/scenario/play.h tests/scenario/bed.c \
	tests/scenario/bed.h tests/scenario/double.c tests/scenario/double.h
tests_fault_memory_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS) $(JANSSON_CFLAGS)
tests_fault_memory_LDADD = $(scopemeshd_LDADD)
tests_fault_memory_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free \
	-Wl,--wrap=strdup,--wrap=strndup,--wrap=arena_alloc,--wrap=arena_zalloc,--wrap=arena_dup \
	-Wl,--wrap=replicator_submit
TESTS += tests/fault/all.sh
EXTRA_DIST += tests/fault/all.sh
# Every write, sync and allocation of the store fails once.
check_PROGRAMS += tests/fault/store
tests_fault_store_SOURCES = tests/fault/store.c tests/unit/replication/bed.h
tests_fault_store_CFLAGS = $(AM_CFLAGS) $(SQLITE_CFLAGS)
tests_fault_store_LDADD = replication/libreplication.a base/libbase.a $(SQLITE_LIBS)
tests_fault_store_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=strdup
TESTS += tests/fault/store.sh
EXTRA_DIST += tests/fault/store.sh
# Killed while it commits.
check_PROGRAMS += tests/fault/store_kill
tests_fault_store_kill_SOURCES = tests/fault/store_kill.c tests/unit/replication/bed.h
tests_fault_store_kill_CFLAGS = $(AM_CFLAGS)
tests_fault_store_kill_LDADD = replication/libreplication.a base/libbase.a $(SQLITE_LIBS)
TESTS += tests/fault/store_kill
# Every call of the spool to the disk, and every allocation, fails once.
check_PROGRAMS += tests/fault/spool
tests_fault_spool_SOURCES = tests/fault/spool.c tests/unit/replication/spool_bed.h \
	tests/unit/replication/spool_calls.h
tests_fault_spool_CFLAGS = $(AM_CFLAGS)
tests_fault_spool_LDADD = replication/libreplication.a base/libbase.a
tests_fault_spool_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=pwrite,--wrap=pread,--wrap=fsync \
	-Wl,--wrap=renameat,--wrap=unlinkat,--wrap=openat
TESTS += tests/fault/spool
# Every allocation of the replicator fails once.
check_PROGRAMS += tests/fault/replicator
tests_fault_replicator_SOURCES = tests/fault/replicator.c tests/scenario/bed.c tests/scenario/bed.h
tests_fault_replicator_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS) $(JANSSON_CFLAGS)
tests_fault_replicator_LDADD = $(scopemeshd_LDADD)
tests_fault_replicator_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free \
	-Wl,--wrap=strdup,--wrap=strndup,--wrap=arena_alloc,--wrap=arena_zalloc,--wrap=arena_dup \
	-Wl,--wrap=store_submit,--wrap=store_submit_read,--wrap=asprintf,--wrap=__asprintf_chk,--wrap=json_loadb
TESTS += tests/fault/replicator.sh
EXTRA_DIST += tests/fault/replicator.sh
