# registry: sites, their marks, the sources
noinst_LIBRARIES += registry/libregistry.a
registry_libregistry_a_SOURCES = \
	registry/file.c \
	registry/registry.c registry/registry.h
