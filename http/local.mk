# HTTP/1 messages without sockets.  HTTP_LIBS is what a program links for it (libbase.a after it).
if LLHTTP_FROM_SOURCES
noinst_LIBRARIES += http/libllhttp.a
LLHTTP_OBJECTS = http/llhttp-api.o http/llhttp-http.o
if LLHTTP_SSE42
http_libllhttp_a_SOURCES = http/llhttp_cpu.c http/llhttp_cpu.h
http_libllhttp_a_CFLAGS = $(AM_CFLAGS) $(LLHTTP_CFLAGS)
LLHTTP_OBJECTS += http/llhttp-plain.o http/llhttp-sse42.o
else
http_libllhttp_a_SOURCES =
LLHTTP_OBJECTS += http/llhttp-llhttp.o
endif
http_libllhttp_a_LIBADD = $(LLHTTP_OBJECTS)
http_libllhttp_a_DEPENDENCIES = $(LLHTTP_OBJECTS)
CLEANFILES += $(LLHTTP_OBJECTS)
EXTRA_DIST += http/llhttp_cpu.c http/llhttp_cpu.h

LLHTTP_COMPILE = $(CC) $(LLHTTP_CFLAGS) $(SM_CFLAGS) -w $(CFLAGS)
http/llhttp-%.o: $(LLHTTP_SRC)/%.c
	@$(MKDIR_P) http
	$(AM_V_CC)$(LLHTTP_COMPILE) -c -o $@ $<
http/llhttp-plain.o: $(LLHTTP_SRC)/llhttp.c
	@$(MKDIR_P) http
	$(AM_V_CC)$(LLHTTP_COMPILE) -Dllhttp__internal_execute=llhttp_execute_plain -c -o $@ $<
http/llhttp-sse42.o: $(LLHTTP_SRC)/llhttp.c
	@$(MKDIR_P) http
	$(AM_V_CC)$(LLHTTP_COMPILE) -msse4.2 -Dllhttp__internal_execute=llhttp_execute_sse42 \
		-c -o $@ $<
	@$(OBJCOPY) --keep-global-symbol=llhttp_execute_sse42 $@

HTTP_LLHTTP = http/libllhttp.a
else
HTTP_LLHTTP = $(LLHTTP_LIBS)
endif
HTTP_LIBS = http/libhttp.a $(HTTP_LLHTTP) $(JANSSON_LIBS)

noinst_LIBRARIES += http/libhttp.a
http_libhttp_a_SOURCES = \
	http/body.c \
	http/field.c \
	http/guard.c http/guard_int.h \
	http/head.c \
	http/message.h \
	http/problem.c http/problem.h \
	http/reason.c \
	http/target.c http/target_int.h \
	http/trailer.c

# head.c alone sees llhttp, problem.c alone jansson.
http/head.$(OBJEXT): AM_CFLAGS += $(LLHTTP_CFLAGS)
http/problem.$(OBJEXT): AM_CFLAGS += $(JANSSON_CFLAGS)
