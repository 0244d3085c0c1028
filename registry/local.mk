# registry: sites, their marks, the sources
noinst_LIBRARIES += registry/libregistry.a
registry_libregistry_a_CFLAGS = $(AM_CFLAGS) $(JANSSON_CFLAGS)
registry_libregistry_a_SOURCES = \
	registry/aliveness.c registry/aliveness.h \
	registry/announce.c registry/announce.h \
	registry/collect.c registry/collect.h \
	registry/file.c \
	registry/marks.c registry/marks.h \
	registry/registry.c registry/registry.h \
	registry/source.h
