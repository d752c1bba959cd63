# SPDX-License-Identifier: GPL-3.0-or-later
# A fuzz target is tests/fuzz/fuzz-NAME.c with a corpus in tests/fuzz/corpus/NAME, replayed by
# `make check`. It and its main() are three lines below.
fuzz_tests = \
	tests/fuzz/fuzz-base-text \
	tests/fuzz/fuzz-cache-follow \
	tests/fuzz/fuzz-cache-row \
	tests/fuzz/fuzz-chat \
	tests/fuzz/fuzz-chat-content \
	tests/fuzz/fuzz-chat-rows \
	tests/fuzz/fuzz-config \
	tests/fuzz/fuzz-control \
	tests/fuzz/fuzz-devserver-s3 \
	tests/fuzz/fuzz-http \
	tests/fuzz/fuzz-journal \
	tests/fuzz/fuzz-provider \
	tests/fuzz/fuzz-provider-sse \
	tests/fuzz/fuzz-quarantine \
	tests/fuzz/fuzz-rest \
	tests/fuzz/fuzz-storage \
	tests/fuzz/fuzz-supabase \
	tests/fuzz/fuzz-tree-dir \
	tests/fuzz/fuzz-tree-names \
	tests/fuzz/fuzz-tree-saved \
	tests/fuzz/fuzz-tree-text \
	tests/fuzz/fuzz-write-attrs
check_PROGRAMS += $(fuzz_tests)
EXTRA_DIST += tests/fuzz/corpus tests/fuzz/merge tests/fuzz/search

if FUZZ
fuzz_main =
fuzz_ldflags = $(AM_LDFLAGS) -fsanitize=fuzzer
fuzz_replays =
else
fuzz_main = tests/fuzz/replay.c
fuzz_ldflags = $(AM_LDFLAGS)
fuzz_replays = $(fuzz_tests)
endif
TESTS += $(fuzz_replays)

# Search with each target (or those of FUZZ_TARGETS) for so many seconds, from the corpora and what
# was found before; in a build with --enable-fuzz.
FUZZ_SECONDS = 60
FUZZ_TARGETS = $(fuzz_tests)
fuzz: $(FUZZ_TARGETS)
	$(top_srcdir)/tests/fuzz/search $(top_srcdir)/tests/fuzz/corpus $(FUZZ_SECONDS) $(FUZZ_TARGETS)
# Add to the corpora what reaches more, in files of at most so many bytes.
FUZZ_MERGE_LEN = 256
fuzz-merge: $(FUZZ_TARGETS)
	$(top_srcdir)/tests/fuzz/merge $(top_srcdir)/tests/fuzz/corpus $(FUZZ_MERGE_LEN) $(FUZZ_TARGETS)
.PHONY: fuzz fuzz-merge

tests_fuzz_fuzz_base_text_SOURCES = tests/fuzz/fuzz-base-text.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_base_text_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_cache_follow_SOURCES = tests/fuzz/fuzz-cache-follow.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_cache_follow_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_cache_row_SOURCES = tests/fuzz/fuzz-cache-row.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_cache_row_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_chat_SOURCES = tests/fuzz/fuzz-chat.c tests/fuzz/fuzz.h $(fuzz_main) tests/fuzz/chat-properties.h
tests_fuzz_fuzz_chat_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_chat_content_SOURCES = tests/fuzz/fuzz-chat-content.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_chat_content_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_chat_rows_SOURCES = tests/fuzz/fuzz-chat-rows.c tests/fuzz/fuzz.h $(fuzz_main) tests/fuzz/chat-properties.h
tests_fuzz_fuzz_chat_rows_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_config_SOURCES = tests/fuzz/fuzz-config.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_config_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_control_SOURCES = tests/fuzz/fuzz-control.c tests/fuzz/fuzz.h $(fuzz_main) \
	src/cmd/answer.c src/cmd/answer.h
tests_fuzz_fuzz_control_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_devserver_s3_SOURCES = tests/fuzz/fuzz-devserver-s3.c tests/fuzz/fuzz.h $(fuzz_main) \
	contrib/devserver/s3-chunk.c contrib/devserver/s3-sign.c contrib/devserver/s3-xml.c \
	contrib/devserver/buf.c contrib/devserver/text.c
tests_fuzz_fuzz_devserver_s3_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_http_SOURCES = tests/fuzz/fuzz-http.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_http_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_journal_SOURCES = tests/fuzz/fuzz-journal.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_journal_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_provider_SOURCES = tests/fuzz/fuzz-provider.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_provider_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_rest_SOURCES = tests/fuzz/fuzz-rest.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_rest_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_storage_SOURCES = tests/fuzz/fuzz-storage.c tests/fuzz/fuzz.h $(fuzz_main)
# The network is replaced.
tests_fuzz_fuzz_storage_LDFLAGS = $(fuzz_ldflags) -Wl,--wrap=sf_http_submit,--wrap=sf_http_post
tests_fuzz_fuzz_supabase_SOURCES = tests/fuzz/fuzz-supabase.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_supabase_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_tree_names_SOURCES = tests/fuzz/fuzz-tree-names.c tests/fuzz/fuzz.h $(fuzz_main) tests/fuzz/names-properties.h
tests_fuzz_fuzz_tree_names_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_tree_saved_SOURCES = tests/fuzz/fuzz-tree-saved.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_tree_saved_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_write_attrs_SOURCES = tests/fuzz/fuzz-write-attrs.c tests/fuzz/fuzz.h $(fuzz_main) tests/fuzz/attrs-properties.h
tests_fuzz_fuzz_write_attrs_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_provider_sse_SOURCES = tests/fuzz/fuzz-provider-sse.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_provider_sse_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_quarantine_SOURCES = tests/fuzz/fuzz-quarantine.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_quarantine_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_tree_text_SOURCES = tests/fuzz/fuzz-tree-text.c tests/fuzz/fuzz.h $(fuzz_main)
tests_fuzz_fuzz_tree_text_LDFLAGS = $(fuzz_ldflags)
tests_fuzz_fuzz_tree_dir_SOURCES = tests/fuzz/fuzz-tree-dir.c tests/fuzz/fuzz.h $(fuzz_main) $(tree_test_lib)
tests_fuzz_fuzz_tree_dir_LDFLAGS = $(fuzz_ldflags)
