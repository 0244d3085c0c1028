noinst_LIBRARIES += proxy/libproxy.a
proxy_libproxy_a_CFLAGS = $(AM_CFLAGS) $(EVENT_CFLAGS) $(JANSSON_CFLAGS) $(OPENSSL_CFLAGS) $(ZLIB_CFLAGS)
proxy_libproxy_a_SOURCES = \
	proxy/access_line.c \
	proxy/access_log.c proxy/access_log.h \
	proxy/admin.c proxy/admin_int.h proxy/admin_sites.c proxy/admin_write.c \
	proxy/admin_metrics.c proxy/admin_queue.c proxy/admin_read.c proxy/admin_replicas.c proxy/admin_rules.c proxy/admin_settle.c \
	proxy/ask.c proxy/ask.h \
	proxy/bound.c proxy/bound.h \
	proxy/admin_carriers.c \
	proxy/carrier.c proxy/carrier.h \
	proxy/carrier_watch.c proxy/carrier_watch.h \
	proxy/admin_certificates.c \
	proxy/certificates.c proxy/certificates.h \
	proxy/client_table.c proxy/client_table.h \
	proxy/conf.c proxy/conf.h proxy/conf_int.h \
	proxy/conf_carrier.c \
	proxy/conf_cidr.c \
	proxy/conf_options.c \
	proxy/conf_resources.c \
	proxy/conf_scope.c \
	proxy/conf_tls.c \
	proxy/conn.c proxy/conn.h \
	proxy/correlation.c proxy/correlation.h \
	proxy/correlation_value.c proxy/correlation_value.h \
	proxy/deadline.c proxy/deadline.h \
	proxy/descriptors.c proxy/descriptors.h \
	proxy/doctor.c proxy/doctor.h proxy/doctor_host.c proxy/doctor_sites.c \
	proxy/exchange.c proxy/exchange.h proxy/exchange_int.h \
	proxy/exchange_splice.c proxy/io_pipe.c proxy/io_pipe.h \
	proxy/exchange_attempt.c proxy/exchange_request.c proxy/exchange_response.c \
	proxy/exchange_correlate.c proxy/exchange_tunnel.c \
	proxy/front.c proxy/front.h proxy/front_int.h \
	proxy/front_answer.c proxy/front_body.c proxy/front_create.c proxy/front_operation.c proxy/front_peer.c \
	proxy/front_set.c \
	proxy/heads.c \
	proxy/hooks.c proxy/hooks.h \
	proxy/instance.c proxy/instance.h \
	proxy/io.c proxy/io.h proxy/io_loop.c proxy/io_loop.h \
	proxy/io_tls.c proxy/io_tls.h \
	proxy/listener.c \
	proxy/listing.c proxy/listing.h proxy/listing_serve.c \
	proxy/lookup.c proxy/lookup.h \
	proxy/mesh_version.c proxy/mesh_version.h \
	proxy/metrics.c proxy/metrics.h proxy/metrics_int.h proxy/metrics_replication.c \
	proxy/peer.c proxy/peer.h proxy/peer_int.h \
	proxy/peer_answer.c proxy/peer_judge.c proxy/peer_self.c \
	proxy/piggyback.c proxy/piggyback.h \
	proxy/probe.c proxy/probe.h \
	proxy/reload.c proxy/reload.h \
	proxy/rewrite.h proxy/rewrite_int.h proxy/rewrite_exchange.h \
	proxy/replication_rules.c proxy/rewrite_hold.c proxy/rewrite_inflate.c proxy/rewrite_path.c proxy/rewrite_request.c proxy/rewrite_response.c \
	proxy/rewrite_route.c proxy/rewrite_rules.c proxy/rewrite_text.c \
	proxy/operation.c proxy/operation.h \
	proxy/replication.c proxy/replication.h \
	proxy/replicator.c proxy/replicator.h proxy/replicator_int.h \
	proxy/replicator_admit.c proxy/replicator_deliver.c proxy/replicator_doubt.c proxy/replicator_echo.c \
	proxy/replicator_expire.c proxy/replicator_kept.c proxy/replicator_lane.c proxy/replicator_late.c proxy/replicator_load.c \
	proxy/replicator_log.c proxy/replicator_ready.c proxy/replicator_recent.c proxy/replicator_send.c proxy/replicator_settle.c \
	proxy/replicator_stats.c proxy/replicator_stats.h \
	proxy/route.c \
	proxy/server.c proxy/server.h \
	proxy/inner.c proxy/inner.h \
	proxy/session.c proxy/session.h \
	proxy/stats.c proxy/stats.h \
	proxy/tls.c proxy/tls.h proxy/tls_int.h \
	proxy/tls_load.c \
	proxy/trust.c proxy/trust.h \
	proxy/upstream.c proxy/upstream.h \
	proxy/worker.c proxy/worker.h

sbin_PROGRAMS += scopemeshd
scopemeshd_SOURCES = proxy/main.c
scopemeshd_LDADD = proxy/libproxy.a replication/libreplication.a registry/libregistry.a scope/libscope.a \
	$(HTTP_LIBS) base/libbase.a $(EVENT_LIBS) $(JANSSON_LIBS) $(FYAML_LIBS) $(OPENSSL_LIBS) $(SQLITE_LIBS) \
	$(ZLIB_LIBS)
# docs/reference.md comes from the option table; test_conf compares.
EXTRA_PROGRAMS += proxy/print_reference
proxy_print_reference_SOURCES = proxy/print_reference.c
proxy_print_reference_LDADD = proxy/libproxy.a replication/libreplication.a registry/libregistry.a scope/libscope.a \
	base/libbase.a $(FYAML_LIBS) $(OPENSSL_LIBS) $(JANSSON_LIBS)
.PHONY: reference
reference: proxy/print_reference
	@$(MKDIR_P) docs
	./proxy/print_reference >docs/reference.tmp && mv docs/reference.tmp $(srcdir)/docs/reference.md
CLEANFILES += proxy/print_reference
