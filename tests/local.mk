# SPDX-License-Identifier: GPL-3.0-or-later
# Everything that `make check` runs. Exit code 77 = skipped, with the reason as the last line.

# A unit test is one file tests/unit/test-NAME.c and one line here.
unit_tests = \
	tests/unit/test-base-buf \
	tests/unit/test-base-cgroup \
	tests/unit/test-base-clock \
	tests/unit/test-base-crc32c \
	tests/unit/test-base-file \
	tests/unit/test-base-glob \
	tests/unit/test-base-hash \
	tests/unit/test-base-lock \
	tests/unit/test-base-str \
	tests/unit/test-base-thread \
	tests/unit/test-devserver-s3 \
	tests/unit/test-cache-disk \
	tests/unit/test-cache-figures \
	tests/unit/test-cache-link \
	tests/unit/test-cache-disk-crash \
	tests/unit/test-cache-disk-damage \
	tests/unit/test-cache-disk-trouble \
	tests/unit/test-cache-policy \
	tests/unit/test-cache-pool \
	tests/unit/test-cache-predict \
	tests/unit/test-cache-traces \
	tests/unit/test-cache-reads \
	tests/unit/test-cache-row \
	tests/unit/test-cache-stream \
	tests/unit/test-cache-tiers \
	tests/unit/test-chat-answers \
	tests/unit/test-chat-budget \
	tests/unit/test-chat-content \
	tests/unit/test-chat-conv \
	tests/unit/test-chat-file \
	tests/unit/test-chat-front \
	tests/unit/test-chat-ignore \
	tests/unit/test-chat-lookup \
	tests/unit/test-chat-names \
	tests/unit/test-chat-prompt \
	tests/unit/test-chat-remote \
	tests/unit/test-chat-spend \
	tests/unit/test-chat-store \
	tests/unit/test-chat-tables \
	tests/unit/test-chat-transcript \
	tests/unit/test-chat-turn \
	tests/unit/test-cmd-chat \
	tests/unit/test-config-files \
	tests/unit/test-config-keys \
	tests/unit/test-config-load \
	tests/unit/test-config-mountopts \
	tests/unit/test-config-provider \
	tests/unit/test-config-url \
	tests/unit/test-config-value \
	tests/unit/test-control-chat \
	tests/unit/test-control-find \
	tests/unit/test-control-talk \
	tests/unit/test-daemon-chats \
	tests/unit/test-daemon-dirs \
	tests/unit/test-fuse-caller \
	tests/unit/test-fuse-chat \
	tests/unit/test-fuse-park \
	tests/unit/test-http-core \
	tests/unit/test-http-error \
	tests/unit/test-http-hostile \
	tests/unit/test-http-queue \
	tests/unit/test-http-retry \
	tests/unit/test-http-sink \
	tests/unit/test-http-source \
	tests/unit/test-http-tls \
	tests/unit/test-lossy-disk \
	tests/unit/test-observe-counter \
	tests/unit/test-observe-log \
	tests/unit/test-provider-calls \
	tests/unit/test-provider-chat \
	tests/unit/test-provider-chat-body \
	tests/unit/test-provider-claim \
	tests/unit/test-provider-error \
	tests/unit/test-provider-gate \
	tests/unit/test-provider-ids \
	tests/unit/test-provider-prune \
	tests/unit/test-provider-route \
	tests/unit/test-provider-settings \
	tests/unit/test-provider-sse \
	tests/unit/test-provider-types \
	tests/unit/test-provider-want \
	tests/unit/test-supabase-attrs \
	tests/unit/test-supabase-sign \
	tests/unit/test-store-env \
	tests/unit/test-supabase-auth \
	tests/unit/test-supabase-calls \
	tests/unit/test-supabase-dir-facts \
	tests/unit/test-supabase-errmap \
	tests/unit/test-supabase-form \
	tests/unit/test-supabase-keyfile \
	tests/unit/test-supabase-list \
	tests/unit/test-supabase-removed \
	tests/unit/test-supabase-rest \
	tests/unit/test-supabase-scan \
	tests/unit/test-supabase-storage \
	tests/unit/test-supabase-tus \
	tests/unit/test-supabase-version \
	tests/unit/test-tables-ask \
	tests/unit/test-tables-peer \
	tests/unit/test-tables-queue \
	tests/unit/test-tree-ahead \
	tests/unit/test-tree-attrs \
	tests/unit/test-tree-bytes \
	tests/unit/test-tree-cached \
	tests/unit/test-tree-change \
	tests/unit/test-tree-handles \
	tests/unit/test-tree-knowledge \
	tests/unit/test-tree-listing \
	tests/unit/test-tree-memory \
	tests/unit/test-tree-names \
	tests/unit/test-tree-notify \
	tests/unit/test-tree-page \
	tests/unit/test-tree-rename-dir \
	tests/unit/test-tree-saved \
	tests/unit/test-tree-saved-format \
	tests/unit/test-tree-source \
	tests/unit/test-tree-stress \
	tests/unit/test-tree-type \
	tests/unit/test-tree-walk \
	tests/unit/test-tree-words \
	tests/unit/test-tree-xattr-provider \
	tests/unit/test-tree-xattrs \
	tests/unit/test-write-attrs \
	tests/unit/test-write-behind \
	tests/unit/test-write-bytes \
	tests/unit/test-write-change \
	tests/unit/test-write-commit \
	tests/unit/test-write-conflict \
	tests/unit/test-write-content \
	tests/unit/test-write-extents \
	tests/unit/test-write-hashing \
	tests/unit/test-write-holes \
	tests/unit/test-write-kept \
	tests/unit/test-write-known \
	tests/unit/test-write-journal \
	tests/unit/test-write-delete \
	tests/unit/test-write-lazy \
	tests/unit/test-write-mark \
	tests/unit/test-write-meta \
	tests/unit/test-write-mime \
	tests/unit/test-write-names-replay \
	tests/unit/test-write-order \
	tests/unit/test-write-pending \
	tests/unit/test-write-quarantine \
	tests/unit/test-write-refused \
	tests/unit/test-write-rename-dir \
	tests/unit/test-write-room \
	tests/unit/test-write-replay \
	tests/unit/test-write-step \
	tests/unit/test-write-timer \
	tests/unit/test-write-turn \
	tests/unit/test-write-type

# An integration test is a script tests/integ/NAME and one line here. It finds the programs in
# $SUPAFS and $SUPAFS_DEVSERVER, the sources in $top_srcdir, shared shell code in $top_srcdir/tests/lib.
integ_tests = \
	tests/integ/attributes.sh \
	tests/integ/bench.sh \
	tests/integ/cache-commands.sh \
	tests/integ/cache-crash.sh \
	tests/integ/chat-ask.sh \
	tests/integ/chat-cmd.sh \
	tests/integ/chat-shells.sh \
	tests/integ/chat-calls.sh \
	tests/integ/chat-keep.sh \
	tests/integ/chat-names.sh \
	tests/integ/chat-quiet.sh \
	tests/integ/chat-sql.sh \
	tests/integ/chat-who.sh \
	tests/integ/chat-content.sh \
	tests/integ/chat-mounts.sh \
	tests/integ/chat-settings.sh \
	tests/integ/chat-trouble.sh \
	tests/integ/completion.sh \
	tests/integ/content-type.sh \
	tests/integ/control.sh \
	tests/integ/init.sh \
	tests/integ/both-ways-js.sh \
	tests/integ/cached-reads.sh \
	tests/integ/data-ops.sh \
	tests/integ/dead-server.sh \
	tests/integ/deletes.sh \
	tests/integ/devserver-faults.sh \
	tests/integ/devserver-rls.sh \
	tests/integ/devserver-s3.sh \
	tests/integ/devserver-uploads.sh \
	tests/integ/doctor.sh \
	tests/integ/foreign-mount.sh \
	tests/integ/foreign-writer.sh \
	tests/integ/exclusive.sh \
	tests/integ/faults.sh \
	tests/integ/find.sh \
	tests/integ/find-trouble.sh \
	tests/integ/hostile-server.sh \
	tests/integ/http2.sh \
	tests/integ/known-objects.sh \
	tests/integ/large-dir.sh \
	tests/integ/locks.sh \
	tests/integ/lost-replies.sh \
	tests/integ/lazy-write.sh \
	tests/integ/offline.sh \
	tests/integ/open-versions.sh \
	tests/integ/power-loss.sh \
	tests/integ/provider-commands.sh \
	tests/integ/provider-files.sh \
	tests/integ/provider-large.sh \
	tests/integ/provider-mounts.sh \
	tests/integ/provider-prune.sh \
	tests/integ/provider-quiet.sh \
	tests/integ/provider-trouble.sh \
	tests/integ/provider-xattr.sh \
	tests/integ/providers-aimock.sh \
	tests/integ/providers-chat.sh \
	tests/integ/providers-emulator.sh \
	tests/integ/providers-words.sh \
	tests/integ/quickstart.sh \
	tests/integ/metadata-kept.sh \
	tests/integ/mixed-load.sh \
	tests/integ/model.sh \
	tests/integ/mount-basic.sh \
	tests/integ/mount-keys.sh \
	tests/integ/mount-limits.sh \
	tests/integ/mount-signals.sh \
	tests/integ/mount-stop.sh \
	tests/integ/posix.sh \
	tests/integ/read-ahead-files.sh \
	tests/integ/real-input.sh \
	tests/integ/queue.sh \
	tests/integ/rclone.sh \
	tests/integ/read-versions.sh \
	tests/integ/remount-clean.sh \
	tests/integ/renames.sh \
	tests/integ/replay.sh \
	tests/integ/rest-real.sh \
	tests/integ/save-patterns.sh \
	tests/integ/set-attrs-sql.sh \
	tests/integ/sql-migrations.sh \
	tests/integ/sql-rls.sh \
	tests/integ/tables-both.sh \
	tests/integ/state-dir.sh \
	tests/integ/tables.sh \
	tests/integ/tables-denied.sh \
	tests/integ/tables-hostile.sh \
	tests/integ/tags.sh \
	tests/integ/supabase-js.sh \
	tests/integ/tus-js.sh \
	tests/integ/trouble-table.sh \
	tests/integ/two-clients.sh \
	tests/integ/warm-start.sh \
	tests/integ/upload-trouble.sh \
	tests/integ/walks.sh \
	tests/integ/warmup.sh \
	tests/integ/write-live.sh \
	tests/integ/writeback.sh \
	tests/integ/wrong-starts.sh \
	tests/integ/xattr-ours.sh \
	tests/integ/xattr-dir.sh \
	tests/integ/xattrs.sh

# Only where the daemon can be told to die at a step of a change.
if FAULT_POINTS
integ_tests += tests/integ/crash.sh
endif

# What measures times or memory, or moves so much that a sanitizer would only make it slow. The check
# runs these in a plain build and all others under AddressSanitizer; the soak form all in both.
integ_plain = \
	tests/integ/chat-mounts.sh \
	tests/integ/provider-large.sh \
	tests/integ/provider-trouble.sh \
	tests/integ/real-input.sh \
	tests/integ/bench.sh \
	tests/integ/known-objects.sh \
	tests/integ/large-dir.sh \
	tests/integ/mixed-load.sh \
	tests/integ/quickstart.sh \
	tests/integ/queue.sh \
	tests/integ/rclone.sh \
	tests/integ/walks.sh

# Where many threads of the daemon are at work; what a build with --enable-tsan runs in the soak form
# of the check.
integ_tsan = \
	tests/integ/control.sh \
	tests/integ/deletes.sh \
	tests/integ/mixed-load.sh \
	tests/integ/offline.sh \
	tests/integ/open-versions.sh \
	tests/integ/read-versions.sh \
	tests/integ/save-patterns.sh \
	tests/integ/two-clients.sh \
	tests/integ/warmup.sh

# Unit tests that valgrind looks at in the soak form: all but those that measure times or
# memory (mallinfo2() knows nothing there), kill themselves, or take minutes.
unit_no_valgrind = \
	tests/unit/test-cache-disk-crash \
	tests/unit/test-cache-disk-damage \
	tests/unit/test-cache-disk-trouble \
	tests/unit/test-http-core \
	tests/unit/test-http-sink \
	tests/unit/test-http-source \
	tests/unit/test-http-tls \
	tests/unit/test-observe-log \
	tests/unit/test-provider-calls \
	tests/unit/test-provider-chat \
	tests/unit/test-tree-memory \
	tests/unit/test-write-delete
unit_valgrind = $(filter-out $(unit_no_valgrind),$(unit_tests))

# What measures times or memory, which a sanitizer changes, and what is meant to meet itself at full
# speed. The check runs these in a plain build, all under AddressSanitizer, and what has threads under
# ThreadSanitizer; the soak form all of them everywhere.
unit_plain = $(addprefix tests/unit/test-, \
	provider-calls http-hostile http-retry base-lock base-thread cache-tiers fuse-park http-core \
	tree-memory tree-stress)

# Those that start no thread: `strace -f -e clone3` shows none with CLONE_THREAD.
unit_no_threads = $(addprefix tests/unit/test-, \
	base-buf base-cgroup base-clock base-crc32c base-file base-glob base-hash base-str cache-figures \
	cache-link cache-pool cache-predict cache-row cache-stream cache-traces chat-answers chat-budget \
	chat-front chat-ignore chat-names chat-prompt chat-remote chat-transcript config-files \
	config-keys config-load config-mountopts config-provider config-url config-value control-find \
	daemon-chats daemon-dirs devserver-s3 fuse-caller fuse-chat http-error lossy-disk observe-log \
	provider-chat-body provider-claim provider-error provider-gate provider-route provider-sse \
	provider-types supabase-auth supabase-errmap supabase-keyfile supabase-list supabase-scan \
	supabase-storage supabase-version tree-attrs tree-bytes tree-cached tree-change tree-handles \
	tree-knowledge tree-memory tree-names tree-notify tree-page tree-rename-dir tree-saved-format \
	tree-type tree-walk tree-words tree-xattrs write-conflict write-extents write-known write-mark \
	write-meta write-mime write-step)

# What takes longest begins first, so that nothing else waits for it at the end.
unit_first = $(addprefix tests/unit/test-, \
	provider-want http-sink tree-page tree-memory cache-disk-damage cache-reads provider-calls write-room \
	write-commit write-behind tree-listing http-hostile tables-queue supabase-storage write-attrs \
	provider-prune)
integ_first = $(addprefix tests/integ/, \
	real-input.sh two-clients.sh find.sh xattr-dir.sh sql-migrations.sh deletes.sh http2.sh both-ways-js.sh \
	crash.sh model.sh cache-crash.sh write-live.sh find-trouble.sh cached-reads.sh lost-replies.sh \
	doctor.sh mount-signals.sh dead-server.sh rclone.sh walks.sh bench.sh large-dir.sh)
in_order = $(filter $(1),$(unit_first) $(integ_first)) $(filter-out $(unit_first) $(integ_first),$(1))

# A lint test is a script tests/lint/NAME. With --self-test it proves that it finds a planted fault.
lint_tests = \
	tests/lint/attributes \
	tests/lint/banned \
	tests/lint/chat \
	tests/lint/consistency \
	tests/lint/counters \
	tests/lint/format \
	tests/lint/headers \
	tests/lint/journal \
	tests/lint/layers \
	tests/lint/options \
	tests/lint/posix \
	tests/lint/self-test \
	tests/lint/shell \
	tests/lint/sizes \
	tests/lint/spdx

# What tests read but do not run: fixtures, ...
test_data = \
	tests/integ/chat-calls.py \
	tests/integ/crash.sh \
	tests/integ/crash.py \
	tests/integ/crash_scenarios.py \
	tests/lib/run-test \
	tests/integ/chat-content.py \
	tests/integ/chat-mounts.py \
	tests/integ/chat-settings.py \
	tests/integ/chat-sql.py \
	tests/integ/chat-trouble.py \
	tests/integ/devserver-faults.py \
	tests/integ/devserver-uploads.py \
	tests/integ/devserver-rls.py \
	tests/integ/devserver-s3.py \
	tests/integ/providers-aimock.py \
	tests/integ/providers-chat.py \
	tests/integ/providers-emulator.py \
	tests/integ/provider-trouble.py \
	tests/integ/providers-words.py \
	tests/integ/faults.py \
	tests/integ/find.py \
	tests/integ/init-api.py \
	tests/integ/lost-replies.py \
	tests/integ/power-loss.py \
	tests/integ/power_loss_actors.py \
	tests/integ/save-patterns.py \
	tests/integ/set-attrs-sql.py \
	tests/integ/tables-hostile.py \
	tests/integ/tables-cases.py \
	tests/integ/data-ops.py \
	tests/integ/foreign-writer.py \
	tests/integ/read-versions.py \
	tests/integ/cache-crash.py \
	tests/integ/posix.py \
	tests/integ/mixed-load.py \
	tests/integ/two-clients.py \
	tests/posix/README.md \
	tests/posix/run-fsx \
	tests/posix/tree-state.py \
	tests/lint/lib.sh \
	tests/posix/pjdfstest.exclude \
	tests/posix/pjdfstest.py \
	tests/posix/run-pjdfstest \
	tests/traces/README.md \
	tests/traces/build.trace \
	tests/traces/compose.py \
	tests/traces/grep.trace \
	tests/traces/loop.trace \
	tests/traces/pictures.trace \
	tests/traces/random.trace \
	tests/traces/record-build.sh \
	tests/traces/record-grep.sh \
	tests/traces/reduce.py \
	tests/traces/scan.trace \
	tests/traces/shift.trace \
	tests/traces/twice.trace \
	tests/unit/config-fixture.h

if HAVE_CMOCKA
check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)
endif
TESTS += $(lint_tests) $(integ_tests)
EXTRA_DIST += $(lint_tests) $(integ_tests) $(test_data)

AM_TESTS_ENVIRONMENT = \
	ASAN_OPTIONS='allocator_may_return_null=1:detect_leaks=1'; export ASAN_OPTIONS; \
	UBSAN_OPTIONS='print_stacktrace=1:halt_on_error=1'; export UBSAN_OPTIONS; \
	TSAN_OPTIONS='allocator_may_return_null=1:halt_on_error=1:atexit_sleep_ms=0'; export TSAN_OPTIONS; \
	top_srcdir='$(abs_top_srcdir)'; export top_srcdir; \
	top_builddir='$(abs_top_builddir)'; export top_builddir; \
	SUPAFS_BUILDDIR='$(abs_top_builddir)'; export SUPAFS_BUILDDIR; \
	SUPAFS='$(abs_top_builddir)/supafs'; export SUPAFS; \
	SUPAFS_DEVSERVER='$(abs_top_builddir)/supafs-devserver'; export SUPAFS_DEVSERVER;

LOG_COMPILER = $(top_srcdir)/tests/lib/run-test

# Those that need no unit test do not build them.
check-unit: ; $(MAKE) $(AM_MAKEFLAGS) check TESTS='$(call in_order,$(unit_tests)) $(fuzz_replays)'
check-unit-plain: ; $(MAKE) $(AM_MAKEFLAGS) check TESTS='$(unit_plain)' check_PROGRAMS='$(unit_plain)'
# The damaged indexes take a minute there.
unit_tsan = $(filter-out tests/unit/test-cache-disk-damage $(unit_no_threads),$(unit_tests))
check-unit-tsan: ; $(MAKE) $(AM_MAKEFLAGS) check TESTS='$(call in_order,$(unit_tsan))' \
	check_PROGRAMS='$(unit_tsan)'
check-integ: ; $(MAKE) $(AM_MAKEFLAGS) check TESTS='$(call in_order,$(integ_tests))' check_PROGRAMS=
check-integ-plain: ; $(MAKE) $(AM_MAKEFLAGS) check TESTS='$(call in_order,$(integ_plain))' check_PROGRAMS=
check-integ-others: ; $(MAKE) $(AM_MAKEFLAGS) check check_PROGRAMS= \
	TESTS='$(call in_order,$(filter-out $(integ_plain),$(integ_tests)))'
# These two in their short form, also in the soak form of the check: both are slow enough.
check-integ-tsan: ; unset SF_SOAK; $(MAKE) $(AM_MAKEFLAGS) check TESTS='$(integ_tsan)' check_PROGRAMS=
# In a plain build: the sanitizers do not see bytes that nobody wrote.
check-valgrind: ; unset SF_SOAK; $(MAKE) $(AM_MAKEFLAGS) check TESTS='$(unit_valgrind) $(fuzz_replays)' \
	LOG_COMPILER='$(top_srcdir)/tests/lib/run-valgrind'
check-lint: ; $(MAKE) $(AM_MAKEFLAGS) check TESTS='$(lint_tests)' check_PROGRAMS=
check-programs: $(check_PROGRAMS)
check-programs-plain: $(unit_plain)
check-programs-tsan: $(unit_tsan)
# One test of each kind shows that the archive has what they need; all of them ran elsewhere. Nothing
# is measured in what is built of it.
distcheck-quick: ; XZ_OPT=-1 $(MAKE) $(AM_MAKEFLAGS) distcheck DISTCHECK_CONFIGURE_FLAGS=CFLAGS=-O0 \
	check_PROGRAMS='tests/unit/test-base-str tests/fuzz/fuzz-config' \
	TESTS='tests/unit/test-base-str tests/fuzz/fuzz-config tests/integ/control.sh'
# Lines that run in unit tests and the replay of the fuzz corpora, per module; --enable-coverage. To
# count other tests, run them, then tests/lib/coverage.
coverage:
	find . -name '*.gcda' -delete
	$(MAKE) $(AM_MAKEFLAGS) check-unit
	$(top_srcdir)/tests/lib/coverage
.PHONY: check-unit check-unit-plain check-unit-tsan check-integ check-integ-plain check-integ-others check-integ-tsan \
	check-valgrind check-lint check-programs check-programs-plain check-programs-tsan \
	distcheck-quick coverage

unit_cflags = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
unit_ldadd = $(supafs_libs) $(CMOCKA_LIBS)
LDADD = $(unit_ldadd)

tests_unit_test_chat_front_SOURCES = tests/unit/test-chat-front.c tests/fuzz/chat-properties.h
tests_unit_test_chat_names_SOURCES = tests/unit/test-chat-names.c tests/fuzz/chat-properties.h tests/lib/vectors.h
tests_unit_test_chat_transcript_SOURCES = tests/unit/test-chat-transcript.c tests/fuzz/chat-properties.h tests/lib/vectors.h
tests_unit_test_cmd_chat_SOURCES = tests/unit/test-cmd-chat.c \
	src/cmd/chat.h src/cmd/chat-prompt.c src/cmd/chat-said.c
tests_unit_test_tree_names_SOURCES = tests/unit/test-tree-names.c tests/lib/vectors.h
tests_unit_test_write_mark_SOURCES = tests/unit/test-write-mark.c tests/lib/vectors.h
tests_unit_test_write_meta_SOURCES = tests/unit/test-write-meta.c tests/lib/vectors.h

# The chat file is played by the test.
tests_unit_test_control_chat_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=sf_files_find,--wrap=sf_files_forget \
	-Wl,--wrap=sf_chat_open_about,--wrap=sf_chat_write,--wrap=sf_chat_read,--wrap=sf_chat_cancel \
	-Wl,--wrap=sf_chat_release,--wrap=sf_chat_getxattr,--wrap=sf_chat_setxattr

# Parts of the dev server that stand alone.
tests_unit_test_devserver_s3_SOURCES = tests/unit/test-devserver-s3.c \
	contrib/devserver/s3-chunk.c contrib/devserver/s3-sign.c contrib/devserver/s3-xml.c \
	contrib/devserver/buf.c contrib/devserver/text.c
tests_unit_test_devserver_s3_CFLAGS = $(unit_cflags)

# The tree over a project in memory.
tree_test_lib = tests/unit/fake-project.c tests/unit/fake-attrs.c tests/unit/fake-writer.c tests/unit/fake-internal.h \
	tests/unit/fake-project.h tests/unit/tree-fixture.h
tests_unit_test_tree_ahead_SOURCES = tests/unit/test-tree-ahead.c $(tree_test_lib)
tests_unit_test_tree_attrs_SOURCES = tests/unit/test-tree-attrs.c $(tree_test_lib)
tests_unit_test_tree_cached_SOURCES = tests/unit/test-tree-cached.c $(tree_test_lib)
tests_unit_test_tree_source_SOURCES = tests/unit/test-tree-source.c $(tree_test_lib)
# The providers are played by the test.
tests_unit_test_chat_content_SOURCES = tests/unit/test-chat-content.c $(tree_test_lib)
tests_unit_test_chat_content_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=sf_providers_confs,--wrap=sf_providers_one \
	-Wl,--wrap=sf_want,--wrap=sf_want_cancel,--wrap=sf_want_gone \
	-Wl,--wrap=sf_provider_file_text,--wrap=sf_provider_cancel
# Conversations with providers, files and tables that are played.
chat_world = tests/unit/chat-world.c tests/unit/chat-world.h
chat_world_wraps = $(AM_LDFLAGS) -Wl,--wrap=sf_providers_confs,--wrap=sf_providers_one,--wrap=sf_providers_route \
	-Wl,--wrap=sf_provider_trouble,--wrap=sf_provider_chat,--wrap=sf_provider_cancel \
	-Wl,--wrap=sf_chat_content_get,--wrap=convs_find
tests_unit_test_chat_conv_SOURCES = tests/unit/test-chat-conv.c $(chat_world)
tests_unit_test_chat_conv_LDFLAGS = $(chat_world_wraps)
chat_files = $(chat_world) tests/unit/chat-fixture.h $(tree_test_lib)
tests_unit_test_chat_file_SOURCES = tests/unit/test-chat-file.c $(chat_files)
tests_unit_test_chat_file_LDFLAGS = $(chat_world_wraps)
tests_unit_test_chat_lookup_SOURCES = tests/unit/test-chat-lookup.c $(chat_files)
tests_unit_test_chat_lookup_LDFLAGS = $(chat_world_wraps)
tests_unit_test_chat_tables_SOURCES = tests/unit/test-chat-tables.c $(chat_world)
tests_unit_test_chat_tables_LDFLAGS = $(chat_world_wraps)
tests_unit_test_chat_turn_SOURCES = tests/unit/test-chat-turn.c $(chat_world)
tests_unit_test_chat_turn_LDFLAGS = $(chat_world_wraps)
tests_unit_test_tree_change_SOURCES = tests/unit/test-tree-change.c $(tree_test_lib)
tests_unit_test_tree_bytes_SOURCES = tests/unit/test-tree-bytes.c $(tree_test_lib)
tests_unit_test_tree_handles_SOURCES = tests/unit/test-tree-handles.c $(tree_test_lib)
tests_unit_test_tree_rename_dir_SOURCES = tests/unit/test-tree-rename-dir.c $(tree_test_lib)
tests_unit_test_tree_saved_SOURCES = tests/unit/test-tree-saved.c $(tree_test_lib)
tests_unit_test_tree_stress_SOURCES = tests/unit/test-tree-stress.c $(tree_test_lib)
tests_unit_test_tree_type_SOURCES = tests/unit/test-tree-type.c $(tree_test_lib)
tests_unit_test_tree_walk_SOURCES = tests/unit/test-tree-walk.c $(tree_test_lib)
tests_unit_test_tree_xattr_provider_SOURCES = tests/unit/test-tree-xattr-provider.c $(tree_test_lib)
tests_unit_test_tree_xattrs_SOURCES = tests/unit/test-tree-xattrs.c $(tree_test_lib)
tests_unit_test_tree_listing_SOURCES = tests/unit/test-tree-listing.c $(tree_test_lib)
tests_unit_test_tree_memory_SOURCES = tests/unit/test-tree-memory.c $(tree_test_lib)
tests_unit_test_tree_page_SOURCES = tests/unit/test-tree-page.c $(tree_test_lib)
tests_unit_test_tree_notify_SOURCES = tests/unit/test-tree-notify.c $(tree_test_lib)
# These let time pass as they like.
tests_unit_test_tree_notify_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=clock_gettime
tests_unit_test_tree_page_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=clock_gettime
# Without memory for one thing.
tests_unit_test_tree_type_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=type_said_locked
tests_unit_test_provider_settings_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=sf_http_req_attempt_header
tests_unit_test_tree_knowledge_SOURCES = tests/unit/test-tree-knowledge.c $(tree_test_lib)

# The cache over a service whose answers the test gives.
tests_unit_test_cache_reads_SOURCES = tests/unit/test-cache-reads.c tests/unit/cache-fixture.h
tests_unit_test_cache_tiers_SOURCES = tests/unit/test-cache-tiers.c tests/unit/cache-fixture.h

# The writer over a Storage service in memory.
write_test_lib = tests/unit/fake-storage.c tests/unit/fake-storage.h \
	tests/unit/fake-storage-internal.h tests/unit/fake-tus.c tests/unit/write-fixture.h \
	tests/unit/keep-fixture.h tests/unit/attrs-fixture.h
tests_unit_test_write_attrs_SOURCES = tests/unit/test-write-attrs.c $(write_test_lib)
tests_unit_test_write_type_SOURCES = tests/unit/test-write-type.c $(write_test_lib)
tests_unit_test_write_behind_SOURCES = tests/unit/test-write-behind.c $(write_test_lib)
tests_unit_test_write_bytes_SOURCES = tests/unit/test-write-bytes.c $(write_test_lib)
tests_unit_test_write_change_SOURCES = tests/unit/test-write-change.c $(write_test_lib)
tests_unit_test_write_commit_SOURCES = tests/unit/test-write-commit.c $(write_test_lib)
tests_unit_test_write_content_SOURCES = tests/unit/test-write-content.c $(write_test_lib)
tests_unit_test_write_holes_SOURCES = tests/unit/test-write-holes.c $(write_test_lib)
tests_unit_test_write_kept_SOURCES = tests/unit/test-write-kept.c $(write_test_lib)
tests_unit_test_write_turn_SOURCES = tests/unit/test-write-turn.c $(write_test_lib)
# This does something between two steps of an upload.
tests_unit_test_write_turn_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=sf_op_new
tests_unit_test_write_delete_SOURCES = tests/unit/test-write-delete.c $(write_test_lib)
tests_unit_test_write_lazy_SOURCES = tests/unit/test-write-lazy.c $(write_test_lib)
tests_unit_test_write_names_replay_SOURCES = tests/unit/test-write-names-replay.c $(write_test_lib)
tests_unit_test_write_order_SOURCES = tests/unit/test-write-order.c $(write_test_lib)
tests_unit_test_write_pending_SOURCES = tests/unit/test-write-pending.c $(write_test_lib)
tests_unit_test_write_quarantine_SOURCES = tests/unit/test-write-quarantine.c $(write_test_lib)
tests_unit_test_write_refused_SOURCES = tests/unit/test-write-refused.c $(write_test_lib)
tests_unit_test_write_rename_dir_SOURCES = tests/unit/test-write-rename-dir.c $(write_test_lib)
tests_unit_test_write_room_SOURCES = tests/unit/test-write-room.c $(write_test_lib)
tests_unit_test_write_replay_SOURCES = tests/unit/test-write-replay.c $(write_test_lib)

tests_unit_test_cache_disk_crash_SOURCES = tests/unit/test-cache-disk-crash.c \
	tests/unit/disk-fixture.h
tests_unit_test_cache_disk_damage_SOURCES = tests/unit/test-cache-disk-damage.c \
	tests/unit/disk-fixture.h
tests_unit_test_cache_disk_trouble_SOURCES = tests/unit/test-cache-disk-trouble.c \
	tests/unit/disk-fixture.h
tests_unit_test_cache_disk_trouble_LDFLAGS = $(AM_LDFLAGS) -Wl,--wrap=pread,--wrap=preadv2,--wrap=pwrite
tests_unit_test_cache_disk_SOURCES = tests/unit/test-cache-disk.c tests/unit/disk-fixture.h
tests_unit_test_cache_policy_SOURCES = tests/unit/test-cache-policy.c tests/unit/policy-sim.c \
	tests/unit/policy-sim.h
tests_unit_test_cache_predict_SOURCES = tests/unit/test-cache-predict.c \
	tests/unit/cache-trace.c tests/unit/cache-trace.h
tests_unit_test_cache_traces_SOURCES = tests/unit/test-cache-traces.c tests/unit/policy-sim.c \
	tests/unit/policy-sim.h tests/unit/cache-trace.c tests/unit/cache-trace.h

tests_unit_test_lossy_disk_SOURCES = tests/unit/test-lossy-disk.c $(lossy_disk)

# The toy server and the completions of the http tests.
http_test_lib = tests/lib/http-got.c tests/lib/http-got.h tests/lib/toy-server.c \
	tests/lib/toy-server.h
tests_unit_test_http_core_SOURCES = tests/unit/test-http-core.c $(http_test_lib)
tests_unit_test_http_hostile_SOURCES = tests/unit/test-http-hostile.c $(http_test_lib)
tests_unit_test_http_queue_SOURCES = tests/unit/test-http-queue.c $(http_test_lib)
tests_unit_test_http_tls_SOURCES = tests/unit/test-http-tls.c $(http_test_lib)
tests_unit_test_http_retry_SOURCES = tests/unit/test-http-retry.c $(http_test_lib)
want_world = tests/lib/want-world.c tests/lib/want-world.h $(http_test_lib)
tests_unit_test_provider_prune_SOURCES = tests/unit/test-provider-prune.c $(want_world)
tests_unit_test_provider_want_SOURCES = tests/unit/test-provider-want.c $(want_world)
tests_unit_test_provider_calls_SOURCES = tests/unit/test-provider-calls.c $(http_test_lib)
tests_unit_test_provider_chat_SOURCES = tests/unit/test-provider-chat.c $(http_test_lib)
tests_unit_test_http_sink_SOURCES = tests/unit/test-http-sink.c $(http_test_lib)
tests_unit_test_http_source_SOURCES = tests/unit/test-http-source.c $(http_test_lib)

# The Storage client: waiting forms of its calls.
storage_test_lib = tests/lib/storage-sync.c tests/lib/storage-sync.h
storage_world = tests/lib/storage-world.c tests/lib/storage-world.h tests/lib/toy-server.c \
	tests/lib/toy-server.h
doc_table_lib = tests/lib/doc-table.c tests/lib/doc-table.h
tests_unit_test_provider_error_SOURCES = tests/unit/test-provider-error.c $(doc_table_lib)
tests_unit_test_provider_types_SOURCES = tests/unit/test-provider-types.c $(doc_table_lib)
tests_unit_test_supabase_errmap_SOURCES = tests/unit/test-supabase-errmap.c $(doc_table_lib)
tests_unit_test_supabase_calls_SOURCES = tests/unit/test-supabase-calls.c $(storage_test_lib) \
	$(storage_world)
tests_unit_test_supabase_attrs_SOURCES = tests/unit/test-supabase-attrs.c $(storage_test_lib) \
	$(storage_world)
tests_unit_test_supabase_sign_SOURCES = tests/unit/test-supabase-sign.c $(storage_test_lib) \
	$(storage_world)
tests_unit_test_supabase_form_SOURCES = tests/unit/test-supabase-form.c $(storage_test_lib) \
	$(storage_world)
tests_unit_test_supabase_removed_SOURCES = tests/unit/test-supabase-removed.c $(storage_test_lib) \
	$(storage_world)
tests_unit_test_supabase_dir_facts_SOURCES = tests/unit/test-supabase-dir-facts.c \
	$(storage_test_lib) $(storage_world)
tests_unit_test_supabase_rest_SOURCES = tests/unit/test-supabase-rest.c $(storage_test_lib) \
	$(storage_world)
tests_unit_test_tables_peer_SOURCES = tests/unit/test-tables-peer.c $(storage_test_lib) \
	$(storage_world)
tests_unit_test_supabase_tus_SOURCES = tests/unit/test-supabase-tus.c $(storage_test_lib) \
	$(storage_world)
tests_unit_test_supabase_storage_SOURCES = tests/unit/test-supabase-storage.c $(storage_test_lib)

include tests/bench/local.mk
include tests/fuzz/local.mk
include tests/js/local.mk
include tests/lib/local.mk
include tests/model/local.mk
include tests/replay/local.mk
include tests/tools/local.mk
