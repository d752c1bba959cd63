# SPDX-License-Identifier: GPL-3.0-or-later
# A disk that forgets what was not synced: tests/integ/power-loss.sh.
noinst_PROGRAMS += tests/tools/lossyfs
lossy_disk = tests/tools/lossy-disk.c tests/tools/lossy-disk.h tests/tools/lossy-internal.h \
	tests/tools/lossy-names.c
tests_tools_lossyfs_SOURCES = tests/tools/lossyfs.c $(lossy_disk)
tests_tools_lossyfs_CFLAGS = $(AM_CFLAGS)
tests_tools_lossyfs_LDADD = $(FUSE_LIBS)
