# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/fuse/caller.c \
	src/fuse/caller.h \
	src/fuse/internal.h \
	src/fuse/notify.c \
	src/fuse/notify.h \
	src/fuse/op-attr.c \
	src/fuse/op-chat.c \
	src/fuse/op-dir.c \
	src/fuse/op-file.c \
	src/fuse/op-lookup.c \
	src/fuse/op-misc.c \
	src/fuse/op-rw.c \
	src/fuse/op-virtual.c \
	src/fuse/op-xattr.c \
	src/fuse/park.c \
	src/fuse/park.h \
	src/fuse/readahead.c \
	src/fuse/session.c \
	src/fuse/session.h
