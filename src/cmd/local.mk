# SPDX-License-Identifier: GPL-3.0-or-later
bin_PROGRAMS += supafs
supafs_SOURCES = \
	src/cmd/cmd-mount.c \
	src/cmd/cmd-status.c \
	src/cmd/cmd-umount.c \
	src/cmd/cmd.h \
	src/cmd/control.c \
	src/cmd/main.c
supafs_LDADD = $(supafs_libs)
