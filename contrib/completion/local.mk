# SPDX-License-Identifier: GPL-3.0-or-later
# What the shells offer behind "supafs", as the program and the table of options have it.
EXTRA_DIST += contrib/completion/generate
bashcompletiondir = $(datadir)/bash-completion/completions
bashcompletion_DATA = contrib/completion/supafs
zshcompletiondir = $(datadir)/zsh/site-functions
zshcompletion_DATA = contrib/completion/_supafs
fishcompletiondir = $(datadir)/fish/vendor_completions.d
fishcompletion_DATA = contrib/completion/supafs.fish
CLEANFILES += $(bashcompletion_DATA) $(zshcompletion_DATA) $(fishcompletion_DATA)

completion_from = contrib/completion/generate supafs$(EXEEXT) src/config/options.def
make_completion = $(MKDIR_P) contrib/completion && \
	perl $(srcdir)/contrib/completion/generate $(1) ./supafs$(EXEEXT) $(srcdir)/src/config/options.def > $@.tmp && \
	mv $@.tmp $@
contrib/completion/supafs: $(completion_from)
	$(AM_V_GEN)$(call make_completion,bash)
contrib/completion/_supafs: $(completion_from)
	$(AM_V_GEN)$(call make_completion,zsh)
contrib/completion/supafs.fish: $(completion_from)
	$(AM_V_GEN)$(call make_completion,fish)
