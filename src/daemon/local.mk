# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/daemon/chats.c \
	src/daemon/chats.h \
	src/daemon/daemon.c \
	src/daemon/daemon.h \
	src/daemon/dirs.c \
	src/daemon/dirs.h \
	src/daemon/drain.c \
	src/daemon/drain.h \
	src/daemon/exit.c \
	src/daemon/exit.def \
	src/daemon/exit.h \
	src/daemon/internal.h \
	src/daemon/place.c \
	src/daemon/place.h \
	src/daemon/providers.c \
	src/daemon/providers.h \
	src/daemon/serve.c \
	src/daemon/start.c \
	src/daemon/status.c \
	src/daemon/stop.c \
	src/daemon/systemd.c \
	src/daemon/systemd.h \
	src/daemon/trouble.c \
	src/daemon/trouble.h
