# bench
EXTRA_PROGRAMS += bench/bench_scope
bench_bench_scope_SOURCES = bench/bench_scope.c
bench_bench_scope_LDADD = scope/libscope.a base/libbase.a
EXTRA_PROGRAMS += bench/bench_http
bench_bench_http_SOURCES = bench/bench_http.c
bench_bench_http_LDADD = $(HTTP_LIBS) base/libbase.a
EXTRA_PROGRAMS += bench/bench_correlation
bench_bench_correlation_SOURCES = bench/bench_correlation.c
bench_bench_correlation_LDADD = proxy/libproxy.a base/libbase.a
EXTRA_PROGRAMS += bench/bench_splice
bench_bench_splice_SOURCES = bench/bench_splice.c
bench_bench_splice_LDADD = replication/libreplication.a base/libbase.a

# Against HAProxy and nginx, unpacked below the build folder; outside make check, since it takes minutes.
EXTRA_DIST += bench/README.md bench/run bench/rig.py bench/soak.py bench/origin.c bench/floor.c bench/report.lua \
	bench/scope.lua bench/correlation bench/correlation.lua bench/replicate bench/replicate.lua \
	bench/converge
.PHONY: bench soak
bench: scopemeshd
	$(PYTHON3) $(srcdir)/bench/run --build .
# Ten minutes of everything going wrong; ends in "passed" or says what did not hold.
soak: scopemeshd
	$(PYTHON3) $(srcdir)/bench/soak.py --build .
# Creates and updates at two and three sites.
.PHONY: bench-replicate
bench-replicate: scopemeshd
	$(PYTHON3) $(srcdir)/bench/replicate --build .
# A cut of two sites that are 100 ms apart: how long until they are equal again. As root.
.PHONY: bench-converge
bench-converge: scopemeshd scopectl
	$(PYTHON3) $(srcdir)/bench/converge --build .
# A million mappings: start, look-ups, memory, commits.
EXTRA_PROGRAMS += bench/bench_store
bench_bench_store_SOURCES = bench/bench_store.c
bench_bench_store_LDADD = replication/libreplication.a base/libbase.a $(SQLITE_LIBS)
