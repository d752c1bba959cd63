# SPDX-License-Identifier: GPL-3.0-or-later
bin_PROGRAMS += supafs
supafs_SOURCES = \
	src/cmd/answer.c \
	src/cmd/answer.h \
	src/cmd/bench.h \
	src/cmd/chat.h \
	src/cmd/chat-prompt.c \
	src/cmd/chat-said.c \
	src/cmd/chat-way.c \
	src/cmd/cmd-bench.c \
	src/cmd/cmd-bench-mount.c \
	src/cmd/cmd-bench-report.c \
	src/cmd/cmd-bench-rows.c \
	src/cmd/cmd-bench-set.c \
	src/cmd/cmd-chat.c \
	src/cmd/cmd-doctor.c \
	src/cmd/cmd-find.c \
	src/cmd/cmd-flush.c \
	src/cmd/cmd-init.c \
	src/cmd/cmd-mount.c \
	src/cmd/cmd-provider.c \
	src/cmd/cmd-provider-mount.c \
	src/cmd/cmd-provider-show.c \
	src/cmd/provider.h \
	src/cmd/cmd-queue.c \
	src/cmd/cmd-queue-print.c \
	src/cmd/queue.h \
	src/cmd/cmd-status.c \
	src/cmd/cmd-umount.c \
	src/cmd/cmd-cache.c \
	src/cmd/cmd-url.c \
	src/cmd/cmd-warmup.c \
	src/cmd/cmd.h \
	src/cmd/control.c \
	src/cmd/main.c \
	src/cmd/process.c \
	src/cmd/process.h \
	src/cmd/say.c \
	src/cmd/settings.c
supafs_LDADD = $(supafs_libs)

# The name by which mount(8) and fstab(5) find it: `mount -t supafs PROJECT DIR`.
install-exec-hook:
	$(MKDIR_P) $(DESTDIR)$(sbindir)
	rm -f $(DESTDIR)$(sbindir)/mount.supafs
	$(LN_S) $(bindir)/supafs $(DESTDIR)$(sbindir)/mount.supafs
uninstall-hook:
	rm -f $(DESTDIR)$(sbindir)/mount.supafs
