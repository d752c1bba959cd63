# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/virtual/talk.c \
	src/virtual/talk.h \
	src/virtual/virtual.c \
	src/virtual/virtual.h
