# Every allocation of every scenario fails once.
check_PROGRAMS += tests/fault/memory
tests_fault_memory_SOURCES = tests/fault/memory.c tests/scenario/play.c tests/scenario/play.h tests/scenario/bed.c \
	tests/scenario/bed.h
tests_fault_memory_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS)
tests_fault_memory_LDADD = $(scopemeshd_LDADD)
tests_fault_memory_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=free \
	-Wl,--wrap=strdup,--wrap=strndup,--wrap=arena_alloc,--wrap=arena_zalloc,--wrap=arena_dup
TESTS += tests/fault/all.sh
EXTRA_DIST += tests/fault/all.sh
