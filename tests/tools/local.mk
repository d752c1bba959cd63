# SPDX-License-Identifier: GPL-3.0-or-later
# A disk that forgets what was not synced: tests/integ/power-loss.sh.
noinst_PROGRAMS += tests/tools/lossyfs
tests_tools_lossyfs_SOURCES = tests/tools/lossyfs.c tests/tools/lossy-disk.c tests/tools/lossy-disk.h
tests_tools_lossyfs_CFLAGS = $(AM_CFLAGS)
tests_tools_lossyfs_LDADD = $(FUSE_LIBS)
