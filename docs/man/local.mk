# SPDX-License-Identifier: GPL-3.0-or-later
# The manual page is docs/man/supafs.pod with three parts put in: the option table and the settings of
# providers as the program of src/config prints them, and the table of exit codes.
noinst_PROGRAMS += src/config/gen-options
src_config_gen_options_SOURCES = src/config/gen-options.c
src_config_gen_options_LDADD = $(supafs_libs)

man_MANS += docs/man/supafs.1
EXTRA_DIST += docs/man/supafs.pod docs/man/exit-codes.pod
CLEANFILES += docs/man/supafs.1 docs/man/options.pod docs/man/providers.pod

docs/man/options.pod: src/config/gen-options$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) docs/man && src/config/gen-options$(EXEEXT) > $@.tmp && mv $@.tmp $@

docs/man/providers.pod: src/config/gen-options$(EXEEXT)
	$(AM_V_GEN)$(MKDIR_P) docs/man && src/config/gen-options$(EXEEXT) providers > $@.tmp && \
	  mv $@.tmp $@

docs/man/supafs.1: docs/man/supafs.pod docs/man/exit-codes.pod docs/man/options.pod \
  docs/man/providers.pod
	$(AM_V_GEN)sed -e '/^@OPTIONS@$$/{' -e 'r docs/man/options.pod' -e 'd' -e '}' \
	  -e '/^@PROVIDERS@$$/{' -e 'r docs/man/providers.pod' -e 'd' -e '}' \
	  -e '/^@EXIT_CODES@$$/{' -e 'r $(srcdir)/docs/man/exit-codes.pod' -e 'd' -e '}' \
	  $(srcdir)/docs/man/supafs.pod | \
	  $(POD2MAN) --errors=die --name=SUPAFS --section=1 --center='supafs' --date='2026-11' \
	  --release='supafs $(PACKAGE_VERSION)' > $@.tmp && mv $@.tmp $@
