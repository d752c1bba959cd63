# SPDX-License-Identifier: GPL-3.0-or-later
# A unit test is one file tests/unit/test-NAME.c and one word in unit_tests.
unit_tests =

if HAVE_CMOCKA
check_PROGRAMS += $(unit_tests)
TESTS += $(unit_tests)
endif

unit_cflags = $(AM_CFLAGS) $(CMOCKA_CFLAGS)
unit_ldadd = $(supafs_libs) $(CMOCKA_LIBS)
LDADD = $(unit_ldadd)

include tests/lib/local.mk
