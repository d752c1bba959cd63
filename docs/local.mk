# SPDX-License-Identifier: GPL-3.0-or-later
EXTRA_DIST += \
	docs/architecture.md \
	docs/consistency.md \
	docs/posix.md \
	docs/threads.md \
	docs/decisions/0001-callbacks-and-retried-operations.md \
	docs/decisions/0002-no-uthash-for-children.md \
	docs/decisions/0003-mime-table.md \
	docs/decisions/0006-signals-in-passing.md \
	docs/decisions/0005-listing-cursors.md \
	docs/decisions/0004-listings-are-read-in-place.md \
	docs/decisions/0007-attributes.md \
	docs/decisions/0008-lmdb.md \
	docs/decisions/0009-cached-bytes-on-disk.md \
	docs/decisions/0010-eviction-policy.md \
	docs/decisions/0011-control-file.md \
	docs/decisions/0013-prediction.md \
	docs/decisions/0014-hard-links.md \
	docs/errors.md \
	docs/guide/attributes.md \
	docs/guide/benchmarks.md \
	docs/guide/chat.md \
	docs/guide/first-mount.md \
	docs/guide/provider-errors.md \
	docs/guide/providers.md \
	docs/guide/tables.md \
	docs/formats/attributes.md \
	docs/formats/cache.md \
	docs/formats/chat.md \
	docs/formats/chats-store.md \
	docs/formats/journal.md \
	docs/formats/listings.md \
	docs/formats/names.md \
	docs/formats/providers.md \
	docs/formats/quarantine.md \
	docs/formats/tables.md
include docs/man/local.mk
