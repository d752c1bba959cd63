# SPDX-License-Identifier: GPL-3.0-or-later
EXTRA_DIST += \
	tests/lib/chat.py \
	tests/lib/common.sh \
	tests/lib/coverage \
	tests/lib/run-valgrind tests/lib/valgrind.supp \
	tests/lib/devserver.py \
	tests/lib/js.sh \
	tests/lib/exai-schema.sql \
	tests/lib/fault_kinds.py \
	tests/lib/fault_work.py \
	tests/lib/listing.py \
	tests/lib/cgroup.sh \
	tests/lib/chat.sh tests/lib/chatfile.py \
	tests/lib/http2-front.mjs tests/lib/http2.sh \
	tests/lib/kimi.sh \
	tests/lib/mount.sh \
	tests/lib/objects.py tests/lib/route.py tests/lib/sigv4.py \
	tests/lib/postgres.sh \
	tests/lib/providers.py tests/lib/providers.sh \
	tests/lib/rclone.sh \
	tests/lib/real-input.sh \
	tests/lib/replaced-schema.sql \
	tests/lib/server.sh \
	tests/lib/sse.py \
	tests/lib/storage-schema.sql \
	tests/lib/tables.sh \
	tests/lib/wire.py

# Changes through src/write without a mount, for tests/integ/write-live.sh.
noinst_PROGRAMS += tests/lib/write-probe
tests_lib_write_probe_CFLAGS = $(AM_CFLAGS)
tests_lib_write_probe_LDADD = $(supafs_libs)

noinst_PROGRAMS += tests/lib/saved-fill
tests_lib_saved_fill_CFLAGS = $(AM_CFLAGS)
tests_lib_saved_fill_LDADD = $(supafs_libs)

# The client of the project's tables, for tests/integ/rest-real.sh.
noinst_PROGRAMS += tests/lib/rest-probe
tests_lib_rest_probe_CFLAGS = $(AM_CFLAGS)
tests_lib_rest_probe_LDADD = $(supafs_libs)

# A turn of a chat, for tests/integ/providers-chat.sh.
noinst_PROGRAMS += tests/lib/chat-probe
tests_lib_chat_probe_CFLAGS = $(AM_CFLAGS)
tests_lib_chat_probe_LDADD = $(supafs_libs)

# What src/provider makes of replies, for tests/integ/providers-words.sh.
noinst_PROGRAMS += tests/lib/provider-probe
tests_lib_provider_probe_CFLAGS = $(AM_CFLAGS)
tests_lib_provider_probe_LDADD = $(supafs_libs)
