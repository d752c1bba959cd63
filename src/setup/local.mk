# SPDX-License-Identifier: GPL-3.0-or-later
src_libsupafs_a_SOURCES += \
	src/setup/doctor.c \
	src/setup/doctor.h \
	src/setup/doctor-ask.c \
	src/setup/doctor-bundle.c \
	src/setup/doctor-config.c \
	src/setup/doctor-dirs.c \
	src/setup/doctor-internal.h \
	src/setup/doctor-machine.c \
	src/setup/doctor-net.c \
	src/setup/doctor-probe.c \
	src/setup/doctor-project.c
