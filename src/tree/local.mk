# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/tree/apply.c \
	src/tree/attr-change.c \
	src/tree/attr.c \
	src/tree/commit.c \
	src/tree/content.c \
	src/tree/dir-attrs.c \
	src/tree/internal.h \
	src/tree/ino.c \
	src/tree/listing.c \
	src/tree/lookup.c \
	src/tree/name-op.c \
	src/tree/name-op.h \
	src/tree/names.c \
	src/tree/names.h \
	src/tree/node-text.c \
	src/tree/node.c \
	src/tree/op-copy.c \
	src/tree/op-dir.c \
	src/tree/op-file.c \
	src/tree/op-lookup.c \
	src/tree/op-make.c \
	src/tree/op-read.c \
	src/tree/op-remove.c \
	src/tree/op-rename-dir.c \
	src/tree/op-rename.c \
	src/tree/op-write.c \
	src/tree/op-xattr.c \
	src/tree/page.c \
	src/tree/pending.c \
	src/tree/resolve.c \
	src/tree/saved-format.c \
	src/tree/saved-format.h \
	src/tree/tree.c \
	src/tree/tree.h \
	src/tree/walk.c
