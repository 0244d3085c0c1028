noinst_LIBRARIES += scope/libscope.a
scope_libscope_a_SOURCES = \
	scope/check.c \
	scope/error.c \
	scope/expand.c \
	scope/function.c \
	scope/json.c \
	scope/lex.c \
	scope/names.c \
	scope/parse.c \
	scope/print.c \
	scope/scope.h scope/scope_int.h \
	scope/tree.c
