# HTTP/1 messages without sockets.  HTTP_LIBS is what a program links for it (libbase.a after it).
if LLHTTP_FROM_SOURCES
noinst_LIBRARIES += http/libllhttp.a
http_libllhttp_a_SOURCES =
http_libllhttp_a_LIBADD = http/llhttp-llhttp.o http/llhttp-api.o http/llhttp-http.o
http_libllhttp_a_DEPENDENCIES = $(http_libllhttp_a_LIBADD)
CLEANFILES += $(http_libllhttp_a_LIBADD)

http/llhttp-%.o: $(LLHTTP_SRC)/%.c
	@$(MKDIR_P) http
	$(AM_V_CC)$(CC) $(LLHTTP_CFLAGS) $(SM_CFLAGS) -w $(CFLAGS) -c -o $@ $<

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
