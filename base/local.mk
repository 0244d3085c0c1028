noinst_LIBRARIES += base/libbase.a
base_libbase_a_SOURCES = \
	base/addr.c base/addr.h \
	base/arena.c base/arena.h \
	base/buf.c base/buf.h \
	base/clock.c base/clock.h \
	base/counter.c base/counter.h \
	base/err.c base/err.h \
	base/fault_point.c base/fault_point.h \
	base/file.c base/file.h \
	base/hash.h \
	base/log.c base/log.h \
	base/nearest.c base/nearest.h \
	base/opt.c base/opt.h base/opt_int.h base/opt_print.c base/opt_read.c base/opt_value.c \
	base/percent.c base/percent.h \
	base/random.c base/random.h \
	base/span.h \
	base/yaml.c base/yaml.h
base_libbase_a_CPPFLAGS = $(AM_CPPFLAGS) $(FYAML_CFLAGS)
