# registry: sites, their marks, the sources
noinst_LIBRARIES += registry/libregistry.a
registry_libregistry_a_SOURCES = \
	registry/collect.c registry/collect.h \
	registry/file.c \
	registry/registry.c registry/registry.h \
	registry/source.h
