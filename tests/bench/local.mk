# SPDX-License-Identifier: GPL-3.0-or-later
# Measuring beside a peer and a limit: docs/guide/benchmarks.md. Not run by make check but for the
# small form in tests/integ/bench.sh.
EXTRA_DIST += \
	tests/bench/callgrind \
	tests/bench/chat \
	tests/bench/chat-load.py \
	tests/bench/conversations \
	tests/bench/limits.py \
	tests/bench/netproxy-check.py \
	tests/bench/run \
	tests/bench/systems.py \
	tests/bench/tables \
	tests/bench/tables.py \
	tests/bench/world.py
noinst_PROGRAMS += tests/bench/chats
tests_bench_chats_CFLAGS = $(AM_CFLAGS)
tests_bench_chats_LDADD = $(supafs_libs)
noinst_PROGRAMS += tests/bench/netproxy
tests_bench_netproxy_CFLAGS = $(AM_CFLAGS)
tests_bench_netproxy_LDADD = src/libsupafs.a
noinst_PROGRAMS += tests/bench/passthrough
tests_bench_passthrough_LDADD = $(FUSE_LIBS)
noinst_PROGRAMS += tests/bench/hot
tests_bench_hot_SOURCES = tests/bench/hot.c $(tree_test_lib)
tests_bench_hot_CPPFLAGS = $(AM_CPPFLAGS) -I$(top_srcdir)/tests
tests_bench_hot_CFLAGS = $(AM_CFLAGS)
tests_bench_hot_LDADD = $(supafs_libs)
