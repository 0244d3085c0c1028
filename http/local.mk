if LLHTTP_FROM_SOURCES
noinst_LIBRARIES += http/libllhttp.a
http_libllhttp_a_SOURCES =
http_libllhttp_a_LIBADD = http/llhttp-llhttp.o http/llhttp-api.o http/llhttp-http.o
http_libllhttp_a_DEPENDENCIES = $(http_libllhttp_a_LIBADD)
CLEANFILES += $(http_libllhttp_a_LIBADD)

http/llhttp-%.o: $(LLHTTP_SRC)/%.c
	@$(MKDIR_P) http
	$(AM_V_CC)$(CC) $(LLHTTP_CFLAGS) $(SM_CFLAGS) -w $(CFLAGS) -c -o $@ $<
endif
