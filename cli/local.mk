# scopectl.  What needs neither sockets nor processes is an archive of its own for the unit tests.
noinst_LIBRARIES += cli/libcli.a
cli_libcli_a_SOURCES = \
	cli/environment.c cli/environment.h \
	cli/progress.c cli/progress.h \
	cli/relay_head.c cli/relay_head.h \
	cli/scope_args.c cli/scope_args.h \
	cli/scope_text.c \
	cli/table.c cli/table.h

bin_PROGRAMS += scopectl
scopectl_SOURCES = \
	cli/admin.c cli/admin.h \
	cli/ca.c cli/ca.h \
	cli/child.c cli/child.h \
	cli/cli.h \
	cli/cmd_doctor.c cli/cmd_doctor_service.c cli/doctor.h \
	cli/cmd_ca.c \
	cli/cmd_explain.c \
	cli/cmd_queue.c cli/cmd_replicas.c \
	cli/cmd_request.c \
	cli/cmd_reload.c cli/cmd_run.c \
	cli/cmd_services.c \
	cli/cmd_site.c cli/cmd_sites.c \
	cli/cmd_status.c cli/cmd_watch.c \
	cli/dial.c cli/dial.h \
	cli/main.c \
	cli/options.c \
	cli/relay.c cli/relay.h cli/relay_int.h cli/relay_conn.c cli/relay_pump.c \
	cli/tls_client.c cli/tls_client.h
scopectl_CFLAGS = $(AM_CFLAGS) $(CURL_CFLAGS) $(EVENT_OPENSSL_CFLAGS) $(JANSSON_CFLAGS)
scopectl_LDADD = cli/libcli.a scope/libscope.a http/libhttp.a base/libbase.a \
	$(LLHTTP_LIBS) $(CURL_LIBS) $(EVENT_OPENSSL_LIBS) $(JANSSON_LIBS)

# What configure substitutes is no dependency that automake sees.
if LLHTTP_FROM_SOURCES
EXTRA_scopectl_DEPENDENCIES = http/libllhttp.a
endif

dist_man_MANS += docs/scopectl.1 docs/scopemeshd.8
