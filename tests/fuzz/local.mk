# SPDX-License-Identifier: GPL-3.0-or-later
# A fuzz target is tests/fuzz/fuzz-NAME.c with a corpus in tests/fuzz/corpus/NAME, replayed by `make check`.
fuzz_tests = \
	tests/fuzz/fuzz-cache-follow \
	tests/fuzz/fuzz-config \
	tests/fuzz/fuzz-devserver-s3 \
	tests/fuzz/fuzz-journal \
	tests/fuzz/fuzz-supabase \
	tests/fuzz/fuzz-tree-names \
	tests/fuzz/fuzz-tree-saved \
	tests/fuzz/fuzz-write-attrs
check_PROGRAMS += $(fuzz_tests)
TESTS += $(fuzz_tests)
EXTRA_DIST += tests/fuzz/corpus

tests_fuzz_fuzz_tree_names_SOURCES = \
	tests/fuzz/fuzz-tree-names.c \
	tests/fuzz/names-properties.h \
	tests/fuzz/replay.c

tests_fuzz_fuzz_devserver_s3_SOURCES = \
	tests/fuzz/fuzz-devserver-s3.c \
	contrib/devserver/s3-chunk.c contrib/devserver/s3-sign.c contrib/devserver/s3-xml.c \
	contrib/devserver/buf.c contrib/devserver/text.c \
	tests/fuzz/replay.c

tests_fuzz_fuzz_config_SOURCES = \
	tests/fuzz/fuzz-config.c \
	tests/fuzz/replay.c

tests_fuzz_fuzz_supabase_SOURCES = \
	tests/fuzz/fuzz-supabase.c \
	tests/fuzz/replay.c

tests_fuzz_fuzz_write_attrs_SOURCES = \
	tests/fuzz/attrs-properties.h \
	tests/fuzz/fuzz-write-attrs.c \
	tests/fuzz/replay.c

tests_fuzz_fuzz_journal_SOURCES = \
	tests/fuzz/fuzz-journal.c \
	tests/fuzz/replay.c

tests_fuzz_fuzz_tree_saved_SOURCES = \
	tests/fuzz/fuzz-tree-saved.c \
	tests/fuzz/replay.c

tests_fuzz_fuzz_cache_follow_SOURCES = \
	tests/fuzz/fuzz-cache-follow.c \
	tests/fuzz/replay.c
